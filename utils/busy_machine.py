"""Lets the threads of a process wait asleep for one another while other programs use its cores.

A thread that is done with its part of a step spins until the others are. That is fastest as long as every thread has a core of its own.
With one more busy program it takes the very time that the last thread lacks: a step of two threads on two cores falls to a third of
its speed. libgomp, the OpenMP of torch's wheels on Linux, spins 300,000 times, and 100 times before it sleeps once there are more
OpenMP threads than cores. So while others are busy, a thread of our own holds a team that never has work. Results stay the same to the bit,
since neither the number of threads of a step nor their parts change.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from utils.cores import available_cores
from utils.logs import log

# What users set who want another way of waiting; it is left as it is.
CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
# Others are busy when they take this much of a core in so many looks, and gone when they take less than the second number in as many.
BUSY, GONE, LOOKS_TO_BELIEVE = 0.4, 0.25, 2
SECONDS = 1.0
# Elements of a tensor for which torch uses a further thread.
PER_THREAD = 1 << 16
NAME = "busy-machine"


def sleep_when_busy() -> threading.Event | None:
    """Watch the machine from now on, in a thread that ends with the program, or when the event that is returned is set.

    Does nothing where it would have no effect: with another OpenMP, with a single thread, with a policy that the user has set.
    """
    import torch

    running = any(thread.name == NAME for thread in threading.enumerate())
    if running or not is_effective(os.environ, torch.get_num_threads(), available_cores()) or not _has_libgomp():
        return None
    watch, ended = Watch(OthersOnOurCores().cores, Crowd(torch.get_num_threads(), available_cores())), threading.Event()
    threading.Thread(target=watch.run, args=(ended,), name=NAME, daemon=True).start()
    return ended


def is_effective(environment: Mapping[str, str], threads: int, cores: int) -> bool:
    """Return whether another way of waiting can help: threads that wait for one another on most of the cores, by the usual policy."""
    return sys.platform == "linux" and not any(name in environment for name in CHOSEN_BY_USER) and threads > 1 and 2 * threads >= cores


def _has_libgomp() -> bool:
    try:
        return "libgomp" in Path("/proc/self/maps").read_text()
    except OSError:
        return False


class Crowd:
    """OpenMP threads beyond the number of cores, asleep.

    Args:
        threads: of a step.
        cores: that this process may use.
    """

    def __init__(self, threads: int, cores: int) -> None:
        self._threads = threads
        # Each holder has a team of `threads`, of which it is one itself.
        self.holders = (cores - threads) // (threads - 1) + 1
        self._release: threading.Event | None = None

    @property
    def is_there(self) -> bool:
        return self._release is not None

    def come(self) -> None:
        """Start the teams; libgomp sees them from the next wait on."""
        self._release = threading.Event()
        for _ in range(self.holders):
            threading.Thread(target=self._hold, args=(self._release,), name=f"{NAME}-team", daemon=True).start()

    def go(self) -> None:
        """End the teams."""
        if self._release is not None:
            self._release.set()
            self._release = None

    def _hold(self, release: threading.Event) -> None:
        import torch

        torch.ones(self._threads * PER_THREAD).exp_()
        # A team lives as long as the thread that it was made for.
        release.wait()


class Watch:
    """Calls the crowd while others are busy.

    Args:
        others: returns how many cores other programs took since it was last called.
        crowd: comes and goes.
    """

    def __init__(self, others: Callable[[], float], crowd: Crowd) -> None:
        self._others, self._crowd = others, crowd
        self._looks = 0

    def look(self) -> None:
        """Take one look, and act when it says what the last one said."""
        taken, there = self._others(), self._crowd.is_there
        self._looks = self._looks + 1 if (taken < GONE if there else taken >= BUSY) else 0
        if self._looks < LOOKS_TO_BELIEVE:
            return
        self._looks = 0
        log().debug(f"other programs take {taken:.2f} cores: threads wait {'spinning again' if there else 'asleep'}")
        if there:
            self._crowd.go()
        else:
            self._crowd.come()

    def run(self, ended: threading.Event) -> None:
        """Look until the event is set, and leave the threads spinning."""
        while not ended.wait(SECONDS):
            # Where a figure cannot be read, waiting stays as it is.
            with suppress(OSError, ValueError):
                self.look()
        self._crowd.go()


class OthersOnOurCores:
    """Measures how many of the cores of this process go to programs other than it and the processes that it started."""

    def __init__(self) -> None:
        self._last = self._used()

    def cores(self) -> float:
        """Return the number of cores, the mean since the last call."""
        before, self._last = self._last, self._used()
        wall, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        return max(0.0, busy - own) / max(1e-9, wall)

    def _used(self) -> tuple[float, float, float]:
        """Return seconds: on the clock, of our cores that were busy, and of this process with its children."""
        ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        busy = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *values = line.split()
            if name in ours:
                user, nice, system, _, _, irq, softirq, steal = map(int, values[:8])
                busy += user + nice + system + irq + softirq + steal
        own = sum(os.times()[:4]) + sum(map(_seconds_of, _children()))
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), own


def _children() -> set[int]:
    found = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found |= set(map(int, file.read_text().split()))
    return found


def _seconds_of(process: int) -> float:
    """Return the processor time of a process; 0 when it has ended, after which it counts as a finished child."""
    with suppress(OSError):
        # Behind the name of the program, which may hold spaces: user and system time.
        user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0
