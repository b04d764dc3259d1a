"""How many processes suit this machine; without torch, which takes seconds to import."""

import os
import sys


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(processes: int = 1) -> int:
    """Return how many loader processes each training process gets: one per core, at most 8."""
    return max(1, min(8, available_cores() // processes))
