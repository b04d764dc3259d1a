import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.parallel import parallel_map


def square(number):
    if number == 99:
        raise UserError("99 is too much")
    if number == 98:
        os._exit(1)
    return number * number, os.getpid()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order(workers):
    results = list(parallel_map(square, range(40), workers=workers))
    assert [value for value, _ in results] == [number * number for number in range(40)]
    assert (os.getpid() in {process for _, process in results}) == (workers == 0)
    assert list(parallel_map(square, [], workers=workers)) == []


@pytest.mark.parametrize(
    ("number", "message"), [(99, "99 is too much"), (98, "a worker process died at (no. [12] or )?no. 98( or no. [12])?: ")]
)
def test_a_mistake_or_a_death_in_a_worker_is_one_line(number, message):
    with pytest.raises(UserError, match=message):
        list(parallel_map(square, [1, 2, number], workers=2, chunk=1, name=lambda item: f"no. {item}"))


def test_a_single_worker_is_a_process_too_and_names_the_item():
    with pytest.raises(UserError, match=r"a worker process died at no\. 98: "):
        list(parallel_map(square, [98], workers=1, name=lambda item: f"no. {item}"))


def die_when_seen(seen: Path, number: int) -> int:
    if number == 98:
        deadline = time.monotonic() + 20
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(1)
    return number


def test_an_item_that_is_finished_is_not_named(tmp_path):
    results = parallel_map(partial(die_when_seen, tmp_path / "seen"), [1, 98], workers=2, chunk=1, name=lambda item: f"no. {item}")
    assert next(results) == 1
    (tmp_path / "seen").touch()
    with pytest.raises(UserError, match=r"a worker process died at no\. 98: "):
        list(results)


# An exception in a thread of the pool is an error of the test.
def test_a_death_leaves_no_process_however_slowly_it_is_told(monkeypatch):
    told = Future.set_exception

    def tell(self: Future, error: BaseException) -> None:
        told(self, error)
        time.sleep(0.05)

    monkeypatch.setattr(Future, "set_exception", tell)
    before = multiprocessing.active_children()
    with pytest.raises(UserError, match="a worker process died at "):
        list(parallel_map(square, [98, *range(60)], workers=2, chunk=1))
    assert multiprocessing.active_children() == before


SLOW = """
import sys, time
sys.path.insert(0, {root!r})
from utils.parallel import parallel_map
if __name__ == "__main__":
    for _ in parallel_map(time.sleep, [0, *[60] * 20], workers=2, chunk=1):
        print("going", flush=True)
"""


def test_two_interrupts_end_all_processes_quietly(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(root=str(Path(__file__).parents[2])))
    process = subprocess.Popen(
        [sys.executable, str(script)], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    # A terminal sends them to the whole group.
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "spawn" not in errors, "helpers say nothing"
    deadline = time.monotonic() + 5
    while group_lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not group_lives(process.pid)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
