"""All images of a data set and the facts of their files, with the queries of the checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dataloader.checks.examine import FileFacts
from dataloader.checks.near_duplicates import GRID, MIN_SIDE, MIN_SPREAD, grouped, near_pairs
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split


class ImageEntry(NamedTuple):
    """An image: its split, path relative to the root, file to open, and label (several are joined by a semicolon)."""

    split: str
    path: str
    file: str
    label: str


@dataclass(frozen=True, eq=False)
class Survey:
    """A data set and the facts of its images, numbered from 0 on, split after split.

    Attributes:
        catalog: the data set.
        facts: one per image.
        image_size: --image_size, height and width.
    """

    catalog: Catalog
    facts: Sequence[FileFacts]
    image_size: tuple[int, int]

    def picture(self, number: int) -> ImageEntry:
        """Return the entry of an image."""
        for name, split in self.catalog.splits.items():
            if number < len(split):
                return ImageEntry(name, split.paths[number], split.file(number), self._label(split, number))
            number -= len(split)
        raise IndexError(number)

    def numbers(self, split: str) -> range:
        """Return the numbers of the images of a split."""
        start = 0
        for name, members in self.catalog.splits.items():
            if name == split:
                return range(start, start + len(members))
            start += len(members)
        raise KeyError(split)

    @cached_property
    def readable(self) -> list[int]:
        """The images that can be read."""
        return [number for number, facts in enumerate(self.facts) if not facts.problem]

    @cached_property
    def copies(self) -> list[tuple[int, ...]]:
        """Groups of files that are the same, byte for byte."""
        found: dict[bytes, list[int]] = {}
        for number in self.readable:
            found.setdefault(self.facts[number].digest, []).append(number)
        return [tuple(members) for members in found.values() if len(members) > 1]

    @cached_property
    def comparable(self) -> list[int]:
        """One of every set of equal files, if it has enough pixels and contrast for a comparison by likeness."""
        first = {self.facts[number].digest: number for number in reversed(self.readable)}
        return [
            number
            for number in sorted(first.values())
            if min(self.facts[number].width, self.facts[number].height) >= MIN_SIDE
            and np.frombuffer(self.facts[number].grid, np.uint8).std() >= MIN_SPREAD
        ]

    @cached_property
    def lookalikes(self) -> list[tuple[int, ...]]:
        """Groups of different files with the same picture, each with all its equal files."""
        numbers = self.comparable
        if len(numbers) < 2:
            return []
        hashes = np.array([self.facts[number].look for number in numbers], dtype=np.uint64)
        grids = np.frombuffer(b"".join(self.facts[number].grid for number in numbers), np.uint8).reshape(-1, GRID, GRID)
        twins = {members[0]: members for members in self.copies}
        chosen = (tuple(numbers[place] for place in group) for group in grouped(near_pairs(hashes, grids)))
        return [tuple(sorted(each for number in group for each in twins.get(number, (number,)))) for group in chosen]

    def _label(self, split: Split, number: int) -> str:
        if split.truths is not None:
            return ""
        target = split.targets[number]
        if target.ndim == 0:
            return self.catalog.classes[int(target)]
        return ";".join(self.catalog.classes[index] for index in np.flatnonzero(target))
