"""Write images and their labels into tar archives of about one size, with the writer of the package webdataset."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.sources.folders import SUFFIXES
from dataloader.sources.tar_index import GROUP, index_tar
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import write_atomically
from utils.randomness import Stream, shuffled

BLOCK = 512


class Shard(NamedTuple):
    """One archive to be written.

    Attributes:
        split: name of the split.
        file: name of the archive.
        first: number of its first sample in the split.
        indices: which images, in this order.
    """

    split: str
    file: str
    first: int
    indices: tuple[int, ...]


class ShardFacts(NamedTuple):
    """What an archive holds."""

    split: str
    file: str
    images: int
    bytes: int


def plan_shards(split: Split, *, limit: int, seed: int) -> list[Shard]:
    """Return the archives of a split: shuffled, so that readers in order see all classes, and each up to `limit` bytes.

    Args:
        split: the images.
        limit: bytes of images and tar headers; a larger image gets an archive of its own.
        seed: of the order.

    Raises:
        UserError: an image cannot be read.
    """
    order = shuffled(len(split), Stream.SPLIT, seed)
    groups: list[list[int]] = []
    room = 0
    for index in order.tolist():
        # In whole tar blocks: image and header, label and header, and with groups a JSON file and its header.
        size = (-(-split.stamp(index).size // BLOCK) + (5 if split.groups else 3)) * BLOCK
        if size > room or not groups:
            groups.append([])
            room = limit
        groups[-1].append(index)
        room -= size
    shards, first = [], 0
    for number, indices in enumerate(groups):
        shards.append(Shard(split.name, f"{split.name}-{number:06d}.tar", first, tuple(indices)))
        first += len(indices)
    return shards


@dataclass(frozen=True)
class ShardWriter:
    """Shard -> ShardFacts: writes an archive, completely or not at all; an existing one is kept.

    A sample is NUMBER.jpg (or what the image is) with NUMBER.cls, the number of its class; with several labels, NUMBER.json. The group
    of an image is in NUMBER.json, too.

    Attributes:
        splits: name -> where the images come from.
        classes: names of the classes.
        folder: where the archives go.
    """

    splits: dict[str, Split]
    classes: tuple[str, ...]
    folder: Path

    def __call__(self, shard: Shard) -> ShardFacts:
        archive = self.folder / shard.file
        if not archive.exists():
            write_atomically(archive, lambda place: self._write(shard, place))
        elif len(index_tar(archive)[1]) != len(shard.indices):
            raise UserError(f"{archive} has other images than expected; remove it and write it again")
        return ShardFacts(shard.split, shard.file, len(shard.indices), archive.stat().st_size)

    def _write(self, shard: Shard, place: Path) -> None:
        from webdataset.writer import TarWriter

        split = self.splits[shard.split]
        # A fixed time, so that equal images give equal archives.
        with place.open("wb") as stream, TarWriter(stream, encoder=False, mtime=0, user="root", group="root") as writer:
            for number, index in enumerate(shard.indices, start=shard.first):
                data = split.read_bytes(index)
                writer.write({"__key__": f"{number:09d}", suffix_of(split.paths[index], data): data, **self._label(split, index)})

    def _label(self, split: Split, index: int) -> dict[str, bytes]:
        target, group = split.targets[index], split.groups[index] if split.groups else ""
        facts: dict[str, object] = {GROUP: group} if group else {}
        if target.ndim:
            facts = {"labels": [self.classes[label] for label in np.flatnonzero(target)], **facts}
        written = {"json": json.dumps(facts).encode()} if facts else {}
        return written if target.ndim else {"cls": str(int(target)).encode(), **written}


def suffix_of(path: str, data: bytes) -> str:
    """Return the suffix of an image: that of its name, else by its content."""
    suffix = path.rpartition(".")[2].lower()
    if suffix in SUFFIXES:
        return suffix
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            kind = str(image.format).lower()
    except UnidentifiedImageError:
        kind = ""
    if kind not in SUFFIXES:
        raise UserError(f"{path} is not an image of a known kind; remove it")
    return kind


def manifest(catalog: Catalog, facts: Sequence[ShardFacts]) -> dict:
    """Return the content of manifest.json: the classes, in the order of their numbers, and every archive."""
    splits = {}
    for name in catalog.splits:
        shards = [{"file": each.file, "images": each.images, "bytes": each.bytes} for each in facts if each.split == name]
        splits[name] = {"images": sum(each.images for each in facts if each.split == name), "shards": shards}
    return {"classes": list(catalog.classes), "several": not catalog.target.is_one_class, "splits": splits}
