"""How a written file is timed in a process of its own."""

from typing import Any

import numpy as np

from applications.export.probe import MET, first_answer, time_alone
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
