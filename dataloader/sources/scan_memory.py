"""A cache of the names in large folders: a folder with the same modification time has the same names."""

import time
from pathlib import Path
from typing import NamedTuple

from utils.user_cache import read_cached, write_cached

WORTH_KEEPING = 10_000
# A folder may change again within the resolution of its time stamp: up to 2 s on some file systems.
_SETTLED_NS = 2_000_000_000
_KIND = "scans"


class FolderNames(NamedTuple):
    """The visible names in one folder.

    Attributes:
        folders: of its folders.
        images: of its image files.
    """

    folders: list[str]
    images: list[str]


class ScanMemory:
    """The names in all folders below one, in the user's cache where there are many.

    Args:
        root: folder that is scanned.
        least: images from which on the scan is cached.
    """

    def __init__(self, root: Path, *, least: int = WORTH_KEEPING) -> None:
        self.root = root
        self.least = least
        content = read_cached(_KIND, root)
        self._old: dict[str, list] = content if isinstance(content, dict) else {}
        self._new: dict[str, list] = {}

    def recall(self, place: str, changed_ns: int) -> FolderNames | None:
        """Return the names in a folder, if they were cached with this modification time."""
        entry = self._old.get(place)
        if entry is None or entry[0] != changed_ns:
            return None
        self._new[place] = entry
        return FolderNames(entry[1], entry[2])

    def keep(self, place: str, changed_ns: int, names: FolderNames) -> None:
        """Cache the names in a folder, unless it changed a moment ago."""
        if time.time_ns() - changed_ns > _SETTLED_NS:
            self._new[place] = [changed_ns, names.folders, names.images]

    def save(self) -> None:
        """Write the cache, if something is new."""
        if self._new != self._old and sum(len(images) for _, _, images in self._new.values()) >= self.least:
            write_cached(_KIND, self.root, self._new)
