"""The offsets of all images in a tar archive, for random access: found once, then cached.

The samples of an archive follow the WebDataset convention: members that differ only after the first dot belong together,
such as 000123.jpg and 000123.cls.
"""

import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataloader.images.read import ImageError
from dataloader.sources.folders import SUFFIXES
from utils.errors import UserError
from utils.user_cache import read_cached, write_cached

LABEL_SUFFIXES = ("cls", "json")
LABEL_KEYS = ("labels", "label", "class", "cls")
GROUP = "group"
_KIND = "shards"
_VERSION = 2


class TarImage(NamedTuple):
    """One image of an archive.

    Attributes:
        name: of the member.
        offset, size: of its bytes in the archive.
        labels: as written; numbers as text.
        multi_label: whether the archive gives several labels.
        group: of the image, such as the object that it shows; '' where none is named.
    """

    name: str
    offset: int
    size: int
    labels: tuple[str, ...]
    multi_label: bool
    group: str = ""


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The offsets of the images in one archive, small enough for every loader process.

    Attributes:
        stamp: modification time in ns, and size, of the archive that was indexed.
        names: of the images, bytes, sorted (N,).
        offsets, sizes: of their bytes, int64 (N,).
    """

    stamp: tuple[int, int]
    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    def place(self, name: str) -> int:
        """Return the position of an image in the arrays."""
        place = int(np.searchsorted(self.names, os.fsencode(name)))
        assert self.names[place : place + 1] == [os.fsencode(name)], f"{name} is not in the index"
        return place

    def read(self, archive: str, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            ImageError: the archive is gone or cannot be read.
            UserError: the archive has changed since it was indexed.
        """
        place = self.place(name)
        file = f"{archive}/{name}"
        try:
            descriptor = os.open(archive, os.O_RDONLY)
        except OSError as error:
            raise ImageError(file, error.strerror or str(error)) from error
        try:
            if _stamp(os.fstat(descriptor)) != self.stamp:
                # Not an ImageError: the run would skip all images of the archive.
                raise UserError(f"the archive {archive} has changed since it was opened; start again, or --resume the run")
            return os.pread(descriptor, int(self.sizes[place]), int(self.offsets[place]))
        finally:
            os.close(descriptor)


def index_tar(archive: Path) -> tuple[TarIndex, list[TarImage]]:
    """Return the index of an archive and its images, sorted by name; from the cache if the archive has not changed.

    Raises:
        UserError: it is not a tar archive, is compressed or truncated, or one of its samples cannot be used.
    """
    try:
        stamp = _stamp(archive.stat())
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror}") from error
    cached = read_cached(_KIND, archive)
    if isinstance(cached, dict) and cached.get("version") == _VERSION and cached.get("stamp") == list(stamp):
        members = [TarImage(*row)._replace(labels=tuple(row[3])) for row in cached["members"]]
    else:
        members = sorted(_scan(archive), key=lambda member: os.fsencode(member.name))
        write_cached(_KIND, archive, {"version": _VERSION, "stamp": stamp, "members": members})
    index = TarIndex(
        stamp,
        np.array([os.fsencode(member.name) for member in members], dtype=np.bytes_),
        np.array([member.offset for member in members], dtype=np.int64),
        np.array([member.size for member in members], dtype=np.int64),
    )
    return index, members


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_size


def _scan(archive: Path) -> list[TarImage]:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, tuple[tuple[str, ...], bool]] = {}
    groups: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r:") as file:
            for info in file:
                folder, slash, base = info.name.removeprefix("./").rpartition("/")
                stem, dot, suffix = base.partition(".")
                if not info.isreg() or not stem or not dot:
                    continue
                key, suffix = folder + slash + stem, suffix.lower()
                if suffix in SUFFIXES:
                    if key in images:
                        raise UserError(f"{archive}: the sample {key} has two images, {images[key].name} and {info.name}")
                    images[key] = info
                elif suffix in LABEL_SUFFIXES:
                    member = file.extractfile(info)
                    assert member is not None, "a regular member has content"
                    place = f"{archive}/{info.name}"
                    content = _read_content(member.read(), suffix, place)
                    if isinstance(content, dict) and content.get(GROUP) is not None:
                        groups[key] = str(content[GROUP])
                        if not set(LABEL_KEYS) & content.keys():
                            # It has only the group; the label is in a .cls file.
                            continue
                    if suffix == "cls" or key not in labels:
                        labels[key] = _read_labels(content, place)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive} is damaged, compressed or not a tar archive ({error}); shards are plain .tar files") from error
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}") from error
    if not images:
        raise UserError(f"{archive} holds no images; a sample is, for example, 000123.jpg with 000123.cls or 000123.json")
    bare = next((info.name for key, info in images.items() if key not in labels), None)
    if bare is not None:
        raise UserError(f"{archive}: {bare} has no label; put a {bare.rpartition('.')[0]}.cls or .json next to it")
    return [TarImage(info.name, info.offset_data, info.size, *labels[key], groups.get(key, "")) for key, info in images.items()]


def _read_content(data: bytes, suffix: str, place: str) -> Any:
    """Return the content of a member: a text, or the value of a JSON file."""
    try:
        text = data.decode("utf-8-sig").strip()
        return json.loads(text) if suffix == "json" else text
    except ValueError as error:
        raise UserError(f"{place}: cannot read the label ({error})") from error


def _read_labels(content: Any, place: str) -> tuple[tuple[str, ...], bool]:
    """Return the labels in the content of a member, and whether it gives several."""
    multi_label = False
    if isinstance(content, dict):
        name = next((name for name in LABEL_KEYS if name in content), None)
        if name is None:
            raise UserError(f'{place}: no label; write one of {", ".join(LABEL_KEYS)}, such as {{"label": "cat"}}')
        multi_label, content = name == "labels", content[name]
    values = content if isinstance(content, list) else [content]
    if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        raise UserError(f"{place}: the label is {str(content)[:40]}; write a name, a number, or a list of them")
    found = sorted({str(value).strip() for value in values} - {""})
    return tuple(found), multi_label or isinstance(content, list)
