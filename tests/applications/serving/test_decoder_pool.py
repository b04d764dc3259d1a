"""The processes that decode files for --serve, when they cannot be started again."""

import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from applications.serving import decoder_pool
from applications.serving.decoder_pool import DecoderPool
from applications.serving.decoding import Decoded, DecodingJob, Form, Refused
from dataloader.images.preprocess import Preprocess
from tests.applications.serving.conftest import HOSTILE
from tests.applications.serving.faulty_decoder import CRASHES
from tests.applications.serving.test_api import as_files, png
from utils.errors import UserError


def no_memory(job: DecodingJob) -> None:
    del job
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.fixture
def open_pool() -> Iterator[Callable[[int], DecoderPool]]:
    """Return a function that opens a pool of so many processes."""
    pools: list[DecoderPool] = []

    def opened(workers: int) -> DecoderPool:
        pools.append(DecoderPool(DecodingJob((Form(Preprocess((8, 8))),), 1_000_000, 5.0, HOSTILE), workers))
        return pools[-1]

    yield opened
    for pool in pools:
        pool.close()


def outcome(pool: DecoderPool, data: bytes) -> str:
    found = pool.submit(data).result(timeout=60)
    return found.outcome if isinstance(found, Refused) else "decoded"


def template() -> int:
    return forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]


def test_a_process_that_cannot_be_started_is_tried_again_at_the_next_file(open_pool, monkeypatch) -> None:
    pool = open_pool(1)
    with monkeypatch.context() as broken:
        broken.setattr(decoder_pool, "_Worker", no_memory)
        assert outcome(pool, CRASHES) == "crashed"
        assert pool.is_empty()
        assert [outcome(pool, png()) for _ in range(2)] == ["no_decoder", "no_decoder"]
    assert [outcome(pool, png()) for _ in range(2)] == ["decoded", "decoded"]
    assert not pool.is_empty()


def test_a_pool_without_processes_is_refused_and_leaves_none(open_pool, monkeypatch) -> None:
    left = [decoder_pool._Worker, no_memory]
    monkeypatch.setattr(decoder_pool, "_Worker", lambda job: left.pop(0)(job))
    before = set(multiprocessing.active_children())
    with pytest.raises(UserError, match=r"Cannot allocate memory.*--workers 1"):
        open_pool(2)
    assert set(multiprocessing.active_children()) <= before


def test_files_are_decoded_by_the_others_while_one_cannot_be_started(open_pool, monkeypatch) -> None:
    pool = open_pool(2)
    monkeypatch.setattr(decoder_pool, "_Worker", no_memory)
    assert outcome(pool, CRASHES) == "crashed"
    # More than there are processes, all at once: those that find the empty place wait for the other one.
    found = [pool.submit(png()) for _ in range(8)]
    assert all(isinstance(each.result(timeout=60), Decoded) for each in found)
    assert not pool.is_empty()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_that_others_are_copied_from_is_prepared_again_when_it_died(open_pool) -> None:
    pool = open_pool(1)
    os.kill(template(), signal.SIGKILL)
    assert outcome(pool, CRASHES) == "crashed"
    assert outcome(pool, png()) == "decoded"
    # Without this path it imports nothing in advance, and every new process takes seconds.
    assert f"PYTHONPATH={decoder_pool.ROOT}".encode() in Path(f"/proc/{template()}/environ").read_bytes()


def test_requests_and_health_are_told_while_no_file_can_be_decoded(serving, runs, monkeypatch) -> None:
    client: TestClient = serving(runs[0], "-j", 1)

    def answers() -> list[tuple[int, object]]:
        sent = client.post("/api/predict", files=as_files(good=png(), other=png())), client.get("/health")
        return [(each.status_code, each.json().get("detail")) for each in sent]

    with monkeypatch.context() as broken:
        broken.setattr(decoder_pool, "_Worker", no_memory)
        assert client.post("/api/predict", files=as_files(bad=CRASHES)).status_code == 422
        assert answers() == [(503, "no file can be decoded now; try again")] * 2
        assert client.get("/health").headers["retry-after"] == "1"
    assert client.get("/health").status_code == 200, "it finds out that one can be started again"
    assert answers() == [(200, None)] * 2
