"""The inputs of --predict: files, folders, patterns, lists, videos and cameras."""

import csv
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataloader.sources.folders import SUFFIXES, image_files
from utils.errors import UserError

VIDEO_SUFFIXES = frozenset({"mp4", "avi", "mov", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv"})
LIST_SUFFIXES = frozenset({"txt", "csv"})
PATH_COLUMNS = ("image", "path")


@dataclass(frozen=True)
class Inputs:
    """The images and videos that names stand for, in their order.

    Attributes:
        images: paths of image files.
        videos: paths of video files, and numbers of cameras as text.
        missing: names without images or videos, each with the reason.
    """

    images: tuple[str, ...]
    videos: tuple[str, ...]
    missing: tuple[tuple[str, str], ...] = ()


def find_inputs(names: Sequence[str]) -> Inputs:
    """Return the images and videos that the names stand for: each once.

    A folder stands for the images in it and below; a pattern for what matches it; a .txt or .csv file for the paths in it,
    which start from its folder; a number that is not a file for a camera.

    Raises:
        UserError: there is no image at all.
    """
    images: dict[str, None] = {}
    videos: dict[str, None] = {}
    missing: dict[str, str] = {}
    for name in names:
        found = _matches(name)
        if not found:
            missing[name] = "nothing matches" if glob.has_magic(name) else "there is no such file or folder"
        for path in found:
            suffix = path.rpartition(".")[2].lower()
            if path.isdecimal() and not os.path.exists(path):
                videos[path] = None
            elif os.path.isdir(path):
                images |= dict.fromkeys(image_files(path, os.path.join(path, "")))
            elif suffix in LIST_SUFFIXES:
                images |= dict.fromkeys(_read_list(path))
            elif suffix in VIDEO_SUFFIXES:
                videos[path] = None
            else:
                images[path] = None
    if not images and not videos:
        if len(missing) == len(set(names)):
            raise UserError(f"--predict {' '.join(missing)}: {' or '.join(dict.fromkeys(missing.values()))}")
        raise UserError(f"--predict {' '.join(names)}: no images there; folders are searched for {', '.join(sorted(SUFFIXES))}")
    return Inputs(tuple(images), tuple(videos), tuple(missing.items()))


def _matches(name: str) -> list[str]:
    """Return the files and folders of a name, which may be a pattern."""
    path = os.path.expanduser(name)
    if os.path.exists(path) or path.isdecimal():
        return [path]
    return sorted(glob.glob(path, recursive=True))


def _read_list(path: str) -> list[str]:
    """Return the paths in a list: a line each, or the column 'image' or 'path' of a CSV file."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"--predict {path}: {error.strerror}") from error
    if path.lower().endswith(".csv"):
        rows = [row for row in csv.reader(text.splitlines()) if row]
        column = next((rows[0].index(name) for name in PATH_COLUMNS if rows and name in rows[0]), None)
        if column is None:
            raise UserError(f"{path}:1: the first line of a list names its columns; one must be 'image' or 'path'")
        found = [row[column] for row in rows[1:] if len(row) > column]
    else:
        found = [line.strip() for line in text.splitlines()]
    return [os.path.join(os.path.dirname(path), name) for name in found if name]
