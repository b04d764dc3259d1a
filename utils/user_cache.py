"""What can be computed again and is slow to: kept in the user's cache folder, never in the user's data."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import write_text


def cache_folder() -> Path:
    """Return the folder of the XDG base directory specification: $XDG_CACHE_HOME/darkroom, else ~/.cache/darkroom."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "darkroom"


def read_cached(kind: str, subject: Path) -> Any:
    """Return what was kept about a file or folder, plain values; None when there is nothing, or nothing readable."""
    try:
        return json.loads(_place(kind, subject).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_cached(kind: str, subject: Path, content: Any) -> None:
    """Keep plain values about a file or folder; a cache that cannot be written is done without."""
    place = _place(kind, subject)
    with suppress(OSError, UserError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(content, separators=(",", ":")))


def _place(kind: str, subject: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(os.path.abspath(subject)), digest_size=16).hexdigest()
    return cache_folder() / kind / f"{name}.json"
