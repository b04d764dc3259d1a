"""Trials end with the sweep that started them, however it ends, and have saved by then."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from utils.environment import ROOT

# In place of main.py: a training that saves when it is asked to end.
TRAINING = """
import os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def save(number, frame):
    (folder / "saves").touch()
    time.sleep(0.3)
    (folder / "saved").write_text(signal.Signals(number).name)
    sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, save)
(folder / "pid").write_text(f"{os.getpid()} {sys.path[0]} {__name__}")
while True:
    time.sleep(0.05)
"""
SWEEP = """
import signal, sys
from pathlib import Path
from applications.sweep import trial_processes
signal.signal(signal.SIGINT, signal.default_int_handler)
trial_processes.ROOT = Path(sys.argv[1])
folders = [Path(folder) for folder in sys.argv[2:]]
waiting = [trial_processes.TrialProcess(folder, [str(folder)], folder / "output") for folder in folders]
trial_processes.run_processes(lambda: waiting.pop() if waiting else None, print, jobs=2, gpus=[])
"""


def wait_until(said: str, happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until, f"not in time: {said}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for counts as ended."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def sweep_of_two(folder: Path, *before: str) -> Iterator[tuple[subprocess.Popen, list[Path], list[int]]]:
    """Start a sweep of two trials; yield it, their folders and their numbers, once they train."""
    (folder / "main.py").write_text(TRAINING)
    trials = [folder / "a", folder / "b"]
    for trial in trials:
        trial.mkdir()
    sweep = subprocess.Popen([*before, sys.executable, "-c", SWEEP, str(folder), *map(str, trials)], cwd=ROOT, start_new_session=True)
    wait_until("the trials train", lambda: all((trial / "pid").is_file() and (trial / "pid").read_text() for trial in trials))
    told = [(trial / "pid").read_text().split() for trial in trials]
    # As if main.py had been started itself.
    assert [each[1:] for each in told] == [[str(folder), "__main__"]] * 2
    pids = [int(each[0]) for each in told]
    try:
        yield sweep, trials, pids
    finally:
        sweep.kill()
        sweep.wait()
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked up in /proc")


def test_a_trial_ends_with_its_parent_and_saves(tmp_path: Path) -> None:
    with sweep_of_two(tmp_path) as (sweep, trials, pids):
        sweep.kill()
        sweep.wait()
        wait_until("the trials end", lambda: not any(map(is_alive, pids)))
        assert [(trial / "saved").read_text() for trial in trials] == ["SIGTERM"] * 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_is_ended_lets_its_trials_save(tmp_path: Path, number: signal.Signals) -> None:
    with sweep_of_two(tmp_path) as (sweep, trials, pids):
        sweep.send_signal(number)
        assert sweep.wait(60) != 0
        assert not any(map(is_alive, pids)), "the sweep waits for them"
        assert [(trial / "saved").read_text() for trial in trials] == ["SIGINT"] * 2


def test_a_terminal_that_is_closed_after_ctrl_c_lets_trials_save(tmp_path: Path) -> None:
    with sweep_of_two(tmp_path) as (sweep, trials, _):
        sweep.send_signal(signal.SIGINT)
        wait_until("the trials are asked to end", lambda: all((trial / "saves").is_file() for trial in trials))
        for number in (signal.SIGHUP, signal.SIGTERM):
            sweep.send_signal(number)
        sweep.wait(60)
        assert [(trial / "saved").read_text() for trial in trials] == ["SIGINT"] * 2


def test_a_closed_terminal_leaves_a_sweep_under_nohup_alone(tmp_path: Path) -> None:
    with sweep_of_two(tmp_path, "nohup") as (sweep, trials, pids):
        os.killpg(sweep.pid, signal.SIGHUP)
        time.sleep(0.5)
        assert sweep.poll() is None
        assert all(map(is_alive, pids))
        sweep.terminate()
        sweep.wait(60)
        assert [(trial / "saved").read_text() for trial in trials] == ["SIGINT"] * 2
