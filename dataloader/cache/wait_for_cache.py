"""Waiting for another process that fills a cache: which one it is, and whether it makes progress."""

import glob
import time
from pathlib import Path

from dataloader.cache.pixel_store import PIXELS
from utils.errors import UserError
from utils.files import locked
from utils.logs import log

# File that names the process that fills a folder, and suffix of such folders.
BUILDER = "builder.txt"
ATTEMPT = ".building"
# Seconds without progress after which the user is told, and seconds between two checks.
PATIENCE, POLL = 60.0, 0.5


def building_name(name: str) -> str:
    """Return the name of the folder in which a cache is filled."""
    return f".{name}{ATTEMPT}"


class StallDetector:
    """Notices when a cache that another process fills stops growing.

    Args:
        folder: of the caches.
        name: of this one; other versions of the same images are watched as well.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.pattern = glob.escape(f".{name.rpartition('-')[0]}-") + f"*{ATTEMPT}*"
        self.before: list[tuple[str, int]] = []
        self.since = self.told = time.monotonic()

    def look(self) -> str:
        """Return which process has written nothing for how long, once per PATIENCE; otherwise ''."""
        now, attempts = time.monotonic(), sorted(self.folder.glob(self.pattern))
        state = [(place.name, _size(place / PIXELS)) for place in attempts]
        if state != self.before:
            self.before, self.since, self.told = state, now, now
        if now - self.told < PATIENCE:
            return ""
        self.told = now
        builder = next((text for place in attempts if (text := _text(place / BUILDER))), "the process that fills the cache")
        return f"{builder} has written nothing for {now - self.since:.0f} s"


def wait_for_lock(lock: Path, watch: StallDetector) -> None:
    """Wait until no process holds a lock; log when the other one stalls."""
    log().info("cache     another process is filling it; waiting")
    while _is_held(lock):
        time.sleep(POLL)
        if line := watch.look():
            log().warning(f"{line}; if it hangs, end it: this run then fills the cache by itself")


def _is_held(lock: Path) -> bool:
    try:
        with locked(lock):
            return False
    except UserError:
        return True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
