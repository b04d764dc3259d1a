"""How long something takes: the median of many runs, their spread, and how much of the machine other programs had meanwhile."""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Seconds of runs that a figure rests on, and how many runs at least and at most.
SECONDS = 1.0
FEWEST, MOST = 5, 2000
# Runs that are not counted: the first ones choose kernels and fault memory in.
WARM_UP = 2
# A figure is steady when half of the runs lie within this share of the median, and others took less than this share of the cores.
WIDE = 0.25
BUSY = 0.1


@dataclass(frozen=True)
class Timing:
    """What one run takes.

    Attributes:
        median, low, high: seconds; half of the runs lie between low and high.
        runs: how many were counted.
        others: share of all cores that other programs took meanwhile, in 0..1.
        p95: seconds that 95% of the runs stay within; nan where nobody counted.
    """

    median: float
    low: float
    high: float
    runs: int
    others: float
    p95: float = math.nan

    @property
    def is_steady(self) -> bool:
        """Whether the figure says something of what was timed, not of what else ran."""
        return self.high - self.low <= WIDE * self.median and self.others <= BUSY

    def __str__(self) -> str:
        digits = 1 if self.median >= 1e-3 else 3
        median, low, high = (f"{1e3 * value:.{digits}f}" for value in (self.median, self.low, self.high))
        return f"{median} ms (half of {self.runs} runs in {low} to {high})"

    def doubt(self) -> str:
        """Return why the figure is not to be relied on, or ''."""
        if self.others > BUSY:
            return f"other programs took {self.others:.0%} of the machine meanwhile; measure again when it is quiet"
        if not self.is_steady:
            return f"the runs differ widely, half of them from {1e3 * self.low:.1f} to {1e3 * self.high:.1f} ms; measure again"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "median_seconds": self.median,
            "low_seconds": self.low,
            "high_seconds": self.high,
            "p95_seconds": self.p95,
            "runs": self.runs,
            "others_share": self.others,
            "steady": self.is_steady,
        }


def measure_times(calls: Sequence[Callable[[], object]], *, seconds: float = SECONDS) -> list[Timing]:
    """Time several calls, which take turns, so that what disturbs one disturbs all.

    Args:
        calls: each does the whole of what is timed; on a GPU it waits for the end.
        seconds: of counted runs of each call.
    """
    for call in calls:
        for _ in range(WARM_UP):
            call()
    contention, times = CpuContention(), [[] for _ in calls]
    while len(times[0]) < MOST and (len(times[0]) < FEWEST or min(map(sum, times)) < seconds):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    others = contention.others()
    return [Timing(statistics.median(found), *_middle_half(found), len(found), others, _percentile_95(found)) for found in times]


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def _percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def in_words(seconds: float) -> str:
    """Return a duration as a person says it: '1 s', '40 s', '3 min', '2.5 h'."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class CpuContention:
    """Measures which share of all cores goes to programs other than this one (Linux; 0 elsewhere)."""

    def __init__(self) -> None:
        self._start = _used()

    def others(self) -> float:
        """Return the share, in 0..1, since the beginning."""
        wall, busy, own = (now - then for now, then in zip(_used(), self._start, strict=True))
        return min(1.0, max(0.0, (busy - own) / max(1e-9, wall * (os.cpu_count() or 1))))


def _used() -> tuple[float, float, float]:
    """Return seconds: on the clock, busy on all cores together, busy with this program and its finished children."""
    # User and system time of the program, then of its finished children.
    own = sum(os.times()[:4])
    stat = Path("/proc/stat")
    if not stat.is_file():
        return time.perf_counter(), own, own
    user, nice, system, _, _, irq, softirq, steal = (int(value) for value in stat.read_text().split()[1:9])
    return time.perf_counter(), (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), own
