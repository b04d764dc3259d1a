"""Threads wait asleep while other programs are busy."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from utils import busy_machine
from utils.busy_machine import BUSY, GONE, Crowd, OthersOnOurCores, Watch, is_effective, sleep_when_busy

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Heard(Crowd):
    """Keeps what was asked of it; starts no thread."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.calls: list[str] = []
        self.there = False

    @property
    def is_there(self) -> bool:
        return self.there

    def come(self) -> None:
        self.there = True
        self.calls.append("come")

    def go(self) -> None:
        self.there = False
        self.calls.append("go")


def test_a_crowd_comes_when_others_stay_busy_and_goes_when_they_stay_quiet() -> None:
    crowd = Heard()
    taken = [0.0, 1.0, 0.1, BUSY, BUSY, 0.0, (BUSY + GONE) / 2, 0.0, 0.0, 1.0, 0.0]
    watch = Watch(iter(taken).__next__, crowd)
    seen = []
    for _ in taken:
        watch.look()
        seen.append(crowd.there)
    assert crowd.calls == ["come", "go"]
    assert [seen.index(True), seen.index(False, 4)] == [4, 8]


def test_a_watch_that_ends_leaves_the_threads_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_machine, "SECONDS", 0.01)
    crowd, ended = Heard(), threading.Event()
    watching = threading.Thread(target=Watch(lambda: BUSY, crowd).run, args=(ended,))
    watching.start()
    for _ in range(200):
        if crowd.there:
            break
        time.sleep(0.01)
    assert crowd.there
    ended.set()
    watching.join(5)
    assert not watching.is_alive()
    assert crowd.calls == ["come", "go"]


@pytest.mark.parametrize(("threads", "cores"), [(2, 2), (4, 4), (4, 8), (6, 8), (64, 128)])
def test_a_crowd_makes_more_openmp_threads_than_cores(threads: int, cores: int) -> None:
    assert threads + Crowd(threads, cores).holders * (threads - 1) > cores
    assert threads + (Crowd(threads, cores).holders - 1) * (threads - 1) <= cores


def test_what_the_user_has_set_and_what_cannot_wait_is_left_alone() -> None:
    assert is_effective({}, 2, 2) == (sys.platform == "linux")
    assert not is_effective({"OMP_WAIT_POLICY": "ACTIVE"}, 2, 2)
    assert not is_effective({"GOMP_SPINCOUNT": "5000"}, 2, 2)
    assert not is_effective({}, 1, 2)
    assert not is_effective({}, 2, 16)


@linux
def test_a_team_is_held_until_the_crowd_goes() -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    def eventually(wanted: bool) -> bool:
        for _ in range(100):
            if (threads() > before) == wanted:
                return True
            time.sleep(0.02)
        return False

    torch.ones(1 << 18).exp_()
    before = threads()
    crowd = Crowd(2, 2)
    crowd.come()
    assert crowd.is_there
    assert eventually(True)
    crowd.go()
    assert not crowd.is_there
    assert eventually(False)


@linux
def test_the_time_of_others_is_seen_and_that_of_our_children_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    spin = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"
    others = OthersOnOurCores()
    before = others._used()
    child = subprocess.Popen([sys.executable, "-c", spin.format(5)])
    time.sleep(0.4)
    alive = others._used()
    monkeypatch.setattr("utils.busy_machine._children", set)
    stranger = others._used()
    child.kill()
    child.wait()
    assert alive[2] - before[2] >= 0.05
    assert alive[1] - before[1] >= 0.05
    assert stranger[2] < alive[2]


@linux
def test_a_policy_of_the_user_starts_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self.name))
    # Another test may have opened a machine.
    monkeypatch.setattr(threading, "enumerate", list)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr("utils.busy_machine.available_cores", lambda: 2)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "1")
        sleep_when_busy()
        monkeypatch.delenv(name)
    assert not started
    sleep_when_busy()
    assert started == [busy_machine.NAME] or not busy_machine._has_libgomp()
