"""Claims about timings: the median of enough runs, and doubt where the machine was busy or the runs differ."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.timing import BUSY, MachineWatch, Timing, measure_times


def test_runs_last_as_long_as_asked_and_take_turns() -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    quick, slow = measure_times([lambda: call("quick", 0.002), lambda: call("slow", 0.006)], seconds=0.1)
    assert quick.median * quick.runs >= 0.08
    assert 2 < slow.median / quick.median < 4
    # The first two of each warm up; then one of each, again and again.
    assert order[4:] == ["quick", "slow"] * (len(order[4:]) // 2)


def test_a_slow_call_still_runs_often_enough_for_a_spread() -> None:
    (found,) = measure_times([lambda: time.sleep(0.005)], seconds=0.0)
    assert found.runs >= 5
    assert found.low <= found.median <= found.high


def test_runs_before_the_warm_up_ended_do_not_count() -> None:
    delays = iter([0.05, 0.05])
    (found,) = measure_times([lambda: time.sleep(next(delays, 0.001))], seconds=0.0)
    assert found.high < 0.02


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
    watch = MachineWatch()
    time.sleep(0.7)
    crowded = watch.others()
    for neighbor in neighbors:
        neighbor.wait()
    assert crowded > max(BUSY, 0.5)


def test_own_work_is_not_counted_as_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.cpu_count() or 1
    # One second on the clock, all cores busy, all of it ours.
    readings = iter([(10.0, 100.0, 50.0), (11.0, 100.0 + cores, 50.0 + cores)])
    monkeypatch.setattr("utils.timing._used", lambda: next(readings))
    assert MachineWatch().others() == 0
