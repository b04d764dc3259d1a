"""A split: images of a data set with their targets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import decode_picture, file_status, read_file, read_picture
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target
from dataloader.targets.truths import Truths
from dataloader.targets.unknown import Unknown

SPLIT_NAMES = ("train", "val", "test")
Origin = Literal["folders", "lists", "seeded"]


class Stamp(NamedTuple):
    """Size and time, to notice that an image has changed.

    Attributes:
        size: of its encoded bytes.
        changed_ns: time of the last change of the file that holds it, in ns.
    """

    size: int
    changed_ns: int


class Store(Protocol):
    """Access to images that are not files, but in archives or tables. It is sent to the loader's processes."""

    def read_bytes(self, file: str) -> bytes:
        """Return the encoded bytes of the image; ImageError if they cannot be read."""
        ...

    def stamp(self, file: str) -> "Stamp":
        """Return size and modification time, of the image or of its container; ImageError if it is missing."""
        ...


class LineFault(NamedTuple):
    """A line of a list that is not used.

    Attributes:
        kind: 'missing' image, no 'label', an unknown 'split', a 'contradiction' of an earlier line, a 'box' that is none; or a 'double'
            of a line, an exact repetition, which is harmless.
        message: file, line and what is wrong with it.
    """

    kind: Literal["missing", "label", "split", "contradiction", "box", "double"]
    message: str


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split.

    Attributes:
        name: 'train', 'val' or 'test'.
        root: folder that the paths start from.
        paths: N POSIX paths relative to root.
        targets: class indices, int64 (N,), or one probability per class, float32 (N, C): ones for all labels of an image. Classes are
            counted and images held out by these. Without columns, (N, 0), the targets are unknown.
        weights: factor of every sample's loss, float32 (N,); ones when not given.
        store: what holds the images; None where each is a file.
        stamps: size in bytes and time of the last change in ns of every file, int64 (N, 2), to notice changes;
            empty where they are not needed (`dataloader/splits/integrity.py`).
        pool: with --fold, the sorted paths of all images of train and val, so that all folds share one cache.
        white: the value of 16-bit files that is shown as white; None where they span all 16 bits (`dataloader/splits/white_value.py`).
        bands: channels that are read from a file: 3, or 4 (`Preprocess.bands`).
        groups: name of the group of every image, N of them, such as the object it shows; '' is a group of its own. Empty without
            groups. Whatever splits a data set keeps groups together.
        given_path: what the user wrote, such as a list, where it is not the root.
        truths: masks or boxes to learn instead of `targets`; None for labels.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    targets: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    store: Store | None = None
    stamps: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    pool: tuple[str, ...] = ()
    white: int | None = None
    bands: int = 3
    groups: tuple[str, ...] = ()
    given_path: Path | None = None
    truths: Truths | None = None

    def __post_init__(self) -> None:
        if len(self.weights) == 0:
            object.__setattr__(self, "weights", np.ones(len(self.paths), dtype=np.float32))
        assert len(self.paths) == len(self.targets) == len(self.weights), "one target and one weight per path"
        assert len(self.groups) in (0, len(self.paths)), "one group per path, or none at all"

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def display_path(self) -> Path:
        """What to call the data in messages: the folder, or the list, that the user named."""
        return self.given_path or self.root

    def seen_by(self, preprocess: Preprocess) -> "Split":
        """Return the images as a model with this preprocessing takes them from their files."""
        return replace(self, white=preprocess.white, bands=preprocess.bands)

    def subset(self, positions: Sequence[int]) -> "Split":
        """Return the images at these positions, in this order, with all their attributes."""
        numbers = np.asarray(positions, dtype=np.int64)
        return replace(
            self,
            paths=tuple(self.paths[number] for number in numbers),
            targets=self.targets[numbers],
            weights=self.weights[numbers],
            stamps=self.stamps[numbers] if len(self.stamps) else self.stamps,
            groups=tuple(self.groups[number] for number in numbers) if self.groups else (),
        )

    def file(self, index: int) -> str:
        """Return the path of image `index`: a file, or its name inside one."""
        return os.path.join(self.root, self.paths[index])

    def target(self, index: int) -> Target:
        """Return the target of image `index`, as a new object: positions are in pixels of the full image in the file.

        Raises:
            ImageError: it cannot be read.
        """
        if self.truths is not None:
            return self.truths.read(self.paths[index])
        if self.targets.ndim == 1:
            return Label(int(self.targets[index]))
        return Labels(self.targets[index].copy()) if self.targets.shape[1] else Unknown()

    def nothing(self) -> Target:
        """Return an empty target of the same kind, for padding."""
        if self.truths is not None:
            return self.truths.nothing()
        if self.targets.ndim == 1:
            return Label(0)
        return Labels(np.zeros(self.targets.shape[1], self.targets.dtype)) if self.targets.shape[1] else Unknown()

    def read(self, index: int, *, at_least: int | None = None) -> np.ndarray:
        """Return image `index`, uint8 (H, W, bands), RGB; a large JPEG may come smaller, with sides of `at_least` pixels.

        Raises:
            ImageError: it cannot be read.
        """
        return self.read_picture(index, at_least=at_least).image

    def show(self, index: int) -> np.ndarray:
        """Return image `index` for people, uint8 (H, W, 3), RGB: `read` without a fourth channel.

        Raises:
            ImageError: it cannot be read.
        """
        return np.ascontiguousarray(self.read(index)[:, :, :3])

    def read_picture(self, index: int, *, at_least: int | None = None) -> Picture:
        """Return the image of `read`, with how its pixels lie on the full image in the file.

        Raises:
            ImageError: it cannot be read.
        """
        file = self.file(index)
        if self.store is None:
            return read_picture(file, at_least=at_least, white=self.white, bands=self.bands)
        return decode_picture(self.store.read_bytes(file), file, at_least=at_least, white=self.white, bands=self.bands)

    def read_bytes(self, index: int) -> bytes:
        """Return the bytes of image `index`, still encoded.

        Raises:
            ImageError: it cannot be read.
        """
        file = self.file(index)
        return read_file(file) if self.store is None else self.store.read_bytes(file)

    def stamp(self, index: int) -> Stamp:
        """Return size and time of image `index`, to notice changes.

        Raises:
            ImageError: it is missing, or not a file.
        """
        file = self.file(index)
        if self.store is not None:
            return self.store.stamp(file)
        status = file_status(file)
        return Stamp(status.st_size, status.st_mtime_ns)
