"""How a written file is asked and timed in a process of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from applications.export.other_size import MOST
from applications.export.probe import MET, Job, Together, _answer, first_answer, time_alone
from applications.formats.facts import Facts
from applications.formats.format import Opened
from dataloader.images.preprocess import Preprocess


class Images:
    """A split whose images grow."""

    def __len__(self) -> int:
        return 2 * MET

    def read(self, index: int) -> np.ndarray:
        return np.zeros((4 + index, 5, 3), dtype=np.uint8)


def test_one_image_is_timed_once_a_runtime_has_met_the_sizes_of_several() -> None:
    asked: list[tuple[int, ...]] = []
    opened = Opened(Facts("a", "classify", ("x", "y"), Preprocess((4, 4)), "softmax"), lambda images: asked.append(images.shape) or [])
    images: Any = Images()
    assert first_answer(opened, images) > 0
    assert asked == [(1, 3, 4, 5)]
    assert time_alone(opened, images, 0.0).runs > 0
    assert asked[1 : 1 + MET] == [(1, 3, 4 + index, 5) for index in range(MET)]
    assert set(asked[1 + MET :]) == {(1, 3, 4, 5)}


class Alike:
    """A split of images of one size."""

    def __len__(self) -> int:
        return 12

    def read(self, index: int) -> np.ndarray:
        del index
        return np.zeros((8, 5, 3), np.uint8)


class Recorder:
    """A format whose file notes the sizes of the images that it is asked about."""

    def __init__(self, *, any_size: bool) -> None:
        self.facts = Facts("a", "classify", ("x", "y"), Preprocess((4, 4)), "softmax", any_size=any_size)
        self.heights: list[int] = []

    def open(self, path: Path, *, threads: int) -> Opened:
        del path, threads
        return Opened(self.facts, self.run)

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        if len(images) == 1:
            self.heights.append(images.shape[2])
        return [np.zeros((len(images), 2), np.float32)]


@pytest.mark.parametrize(("any_size", "asked"), [(True, [8] * 6 + [10] * MOST + [8] * 6), (False, [4] * 12)])
def test_a_file_for_any_size_is_asked_about_another_one_halfway(any_size: bool, asked: list[int]) -> None:
    found: Any = Recorder(any_size=any_size)
    split: Any = Alike()
    told = _answer(found, Job("fake", Path(), split, 4, 1))
    assert found.heights[-len(asked) :] == asked
    assert ("taller" in told) == any_size
    assert len(told["single"]) == len(told["batched"]) == 12


def test_pixels_that_wait_are_counted_to_the_byte() -> None:
    found: Any = Recorder(any_size=True)
    together = Together(found.open(Path(), threads=1), 3)
    for index in range(7):
        together.add(index, np.zeros((3, 8, 5 + index % 2), np.uint8))
        assert together.waiting_bytes == sum(pixels.nbytes for group in together._waiting.values() for _, pixels in group)
    assert len(together.finish()) == 7
    assert together.waiting_bytes == 0
