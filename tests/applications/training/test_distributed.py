"""Several processes give what one process gives on the same global batch."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.applications.conftest import read_rows, start, tiny
from utils.checkpoint import load_checkpoint
from utils.distributed import is_left_alone


def test_two_processes_equal_one_on_the_same_global_batch(colors: Path, tmp_path: Path) -> None:
    flags = tiny(colors, "--epochs", 2, "--accumulate", 2, "--aug", "flip|color", "--ema", "--criterion", "bce|ghm", net="NoNormNet")
    runs = []
    for name, more in (("one", ()), ("two", ("--nproc", 2))):
        process = start(*flags, "--name", name, *more, folder=tmp_path)
        out, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert out.count("done: best val") == 1, "one process speaks"
        runs.append(tmp_path / "runs/classify" / name)
    assert sorted(path.name for path in (tmp_path / "runs/classify").iterdir()) == ["one", "two"], "one process writes"
    first, second = (load_checkpoint(run / "last.pt") for run in runs)
    for key in ("state_dict", "state_dict_ema"):
        for name, tensor in first[key].items():
            torch.testing.assert_close(second[key][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    curves = [read_rows(run / "metrics.csv") for run in runs]
    for one, two in zip(*curves, strict=True):
        for key in ("train_loss", "train_top1", "val_loss", "val_top1"):
            assert float(one[key]) == pytest.approx(float(two[key]), abs=1e-4)


def test_a_mistake_is_said_once_and_ends_with_2(colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setenv("TMPDIR", str(notes))
    process = start(*tiny(colors, "--nproc", 2, "-b", 7), folder=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    assert [line for line in errors.splitlines() if line] == [line for line in errors.splitlines() if line.startswith("error: ")]
    assert errors.count("error: ") == 1
    assert not [place for place in notes.iterdir() if place.name.startswith(("torchelastic", "darkroom"))], "nothing is left behind"


def test_a_signal_to_the_launcher_saves_and_ends_with_its_code(colors: Path, tmp_path: Path) -> None:
    process = start(*tiny(colors, "--nproc", 2, "--epochs", 2000, "--name", "long"), folder=tmp_path)
    run = tmp_path / "runs/classify/long"
    wait_for(run / "last.pt", process)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped after a save" in out
    assert load_checkpoint(run / "last.pt")["progress"]["step"] > 0


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_one_line_that_says_what_was_saved_and_how_to_go_on(colors: Path, tmp_path: Path, rank: int) -> None:
    process = start(*tiny(colors, "--nproc", 2, "--epochs", 5000, "--name", "long"), folder=tmp_path)
    wait_for(tmp_path / "runs/classify/long/last.pt", process)
    os.kill(children_of(process.pid)[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 137, errors
    assert errors.count("\n") == 1, errors
    (line,) = errors.splitlines()
    assert line.startswith(f"error: process {rank + 1} of 2 (pid ")
    assert "was ended by SIGKILL (often for lack of memory)" in line
    assert "last.pt holds " in line
    assert line.endswith("go on with python main.py --resume runs/classify/long, with the same --nproc or --gpus")


def test_only_a_lost_connection_is_taken_for_the_end_of_another_process() -> None:
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:14255")
    assert is_left_alone(lost)
    assert is_left_alone(RuntimeError("NCCL error: remote process exited or there was a network error"))
    assert not is_left_alone(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_left_alone(RuntimeError("gloo: bad argument"))
    assert not is_left_alone(KeyError("gloo closed by peer"))


def children_of(pid: int) -> list[int]:
    """Return the training processes of a launcher, by rank."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    found = {int(child) for task in tasks for child in task.read_text().split()}
    ranks = {}
    for child in found:
        settings = dict(item.split("=", 1) for item in Path(f"/proc/{child}/environ").read_bytes().decode().split("\0") if "=" in item)
        if "RANK" in settings:
            ranks[int(settings["RANK"])] = child
    return [ranks[rank] for rank in sorted(ranks)]


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Return when a process has written a file."""
    deadline = time.monotonic() + 90
    while not file.is_file():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
