"""Folders of class folders: which images lie where."""

import os
from pathlib import Path

from utils.errors import UserError

SUFFIXES = frozenset({"jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff"})
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image: a known suffix in either case, not hidden."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and suffix.lower() in SUFFIXES


def subfolders(folder: Path | str) -> list[str]:
    """Return the sorted names of the visible folders in `folder`."""
    return sorted(entry.name for entry in _entries(folder) if not entry.name.startswith(".") and _is_folder(entry))


def split_folders(root: Path) -> dict[str, str]:
    """Return split name -> folder name for those of train, val and test that `root` holds.

    'valid' and 'validation' stand for val; case does not matter.

    Raises:
        UserError: two folders stand for one split.
    """
    found: dict[str, str] = {}
    for name in subfolders(root):
        split = SPLIT_FOLDERS.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise UserError(f"{root} holds both {found[split]}/ and {name}/: keep one of them")
        found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def scan_classes(folder: Path, prefix: str = "") -> dict[str, list[str]]:
    """Return class name -> sorted image paths, for the class folders of `folder`.

    Paths are POSIX, relative to `folder`, with `prefix` in front. Empty class folders are kept, so that the
    caller can name them.
    """
    return {name: image_files(folder / name, f"{prefix}{name}/") for name in subfolders(folder)}


def image_files(folder: Path | str, prefix: str = "") -> list[str]:
    """Return the sorted paths of all images under `folder`, at any depth, with `prefix` in front.

    Hidden files and folders do not count, and a folder reached twice through links counts once.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(os.fspath(folder), prefix)]
    while pending:
        place, front = pending.pop()
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        deeper = []
        for entry in _entries(place):
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                deeper.append((entry.path, f"{front}{entry.name}/"))
            elif is_image_name(entry.name):
                found.append(front + entry.name)
        # Names in order, so that which of two links wins does not depend on the file system.
        pending += sorted(deeper, reverse=True)
    return sorted(found)


def has_images(folder: Path) -> bool:
    """Whether images lie directly in `folder`."""
    return any(is_image_name(entry.name) for entry in _entries(folder))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself is named when it is read.
        return False


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
