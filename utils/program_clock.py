"""How long the program runs, of which several processes may be parts."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# When the program started that launched this process, by `_clock`.
STARTED = "DARKROOM_STARTED"


def program_seconds() -> float:
    """Return the seconds since this program was started, its imports included where the system tells."""
    return _clock() - float(os.environ.get(STARTED) or _own_start())


@contextmanager
def shared_clock() -> Iterator[None]:
    """Let processes that are launched inside the block count from the start of this program."""
    os.environ[STARTED] = repr(_clock() - program_seconds())
    try:
        yield
    finally:
        del os.environ[STARTED]


def _clock() -> float:
    """Return the seconds on a clock that all processes of this machine read alike."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except AttributeError:
        return time.monotonic()


def _own_start() -> float:
    try:
        # Field 22 of the list, counted after the name, which may hold blanks: clock ticks from the start of the system.
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return _IMPORTED


_IMPORTED = _clock()
