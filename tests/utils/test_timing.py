"""Claims about timings: the median of enough runs, and doubt where the machine was busy or the runs differ."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from utils.timing import BUSY, CpuContention, Timing, measure_times


class Clock:
    """A clock that only calls move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("utils.timing.time", SimpleNamespace(perf_counter=lambda: self.now))

    def taking(self, *seconds: float, then: float) -> Callable[[], None]:
        """Return a call that takes these times in turn, and `then` from there on."""
        left = iter(seconds)

        def call() -> None:
            self.now += next(left, then)

        return call


def test_runs_last_as_long_as_asked_and_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = Clock(monkeypatch), []
    calls = {"quick": clock.taking(then=0.002), "slow": clock.taking(then=0.006)}

    def noted(name: str) -> None:
        order.append(name)
        calls[name]()

    quick, slow = measure_times([lambda: noted("quick"), lambda: noted("slow")], seconds=0.1)
    assert (quick.median, slow.median) == (pytest.approx(0.002), pytest.approx(0.006))
    # As many of each, until the quicker one has run for as long, too.
    assert quick.runs == slow.runs
    assert 50 <= quick.runs <= 51
    # The first two of each warm up; then one of each, again and again.
    assert order == ["quick"] * 2 + ["slow"] * 2 + ["quick", "slow"] * quick.runs


def test_a_slow_call_still_runs_often_enough_for_a_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    (found,) = measure_times([clock.taking(9, 9, 10, 11, 12, 13, then=14)], seconds=1.0)
    assert found.runs == 5
    assert (found.low, found.median, found.high) == (11, 12, 13)


def test_runs_of_the_warm_up_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = measure_times([Clock(monkeypatch).taking(5, 5, then=0.5)], seconds=1.0)
    assert (found.median, found.high) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("timing", "steady", "said"),
    [
        (Timing(0.016, 0.0155, 0.0165, 60, 0.0), True, ""),
        (Timing(0.016, 0.012, 0.030, 60, 0.0), False, "differ widely"),
        # Busy all the time: the runs agree with one another, and are wrong together.
        (Timing(0.979, 0.970, 0.990, 5, 0.6), False, "60%"),
    ],
)
def test_a_figure_is_steady_on_a_quiet_machine_only(timing: Timing, steady: bool, said: str) -> None:
    assert timing.is_steady is steady
    assert said in timing.doubt()
    assert bool(timing.doubt()) is not steady


def test_busy_neighbors_are_seen() -> None:
    if not Path("/proc/stat").is_file():
        pytest.skip("this system does not say who is busy")
    burn = "import time\nend = time.time() + 1.5\nwhile time.time() < end: pass"
    neighbors = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(os.cpu_count() or 1)]
    time.sleep(0.3)
    contention = CpuContention()
    time.sleep(0.7)
    crowded = contention.others()
    for neighbor in neighbors:
        neighbor.wait()
    assert crowded > max(BUSY, 0.5)


def test_own_work_is_not_counted_as_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    # One second on the clock, all cores busy, all of it ours.
    readings = iter([(10.0, 100.0, 50.0), (11.0, 100.0 + cores, 50.0 + cores)])
    monkeypatch.setattr("utils.timing._used", lambda: next(readings))
    assert CpuContention().others() == 0
