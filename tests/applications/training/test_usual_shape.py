"""What most training images have: the shape by which a plan or a probe chooses the size of its input."""

from types import SimpleNamespace
from typing import Any

import pytest

from applications.training.time_plan import STRIDE
from applications.training.usual_shape import UsualShape, usual_shape
from dataloader.images.read import ImageError


class Pictures:
    """Forty images of these widths and heights in turn; None cannot be read."""

    def __init__(self, *sizes: tuple[int, int] | None) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return 40

    def read_picture(self, index: int) -> Any:
        if (size := self.sizes[index % len(self.sizes)]) is None:
            raise ImageError(f"{index}.jpg", "damaged")
        return SimpleNamespace(size=size)


def shape_of(*sizes: tuple[int, int] | None) -> UsualShape:
    pictures: Any = Pictures(*sizes)
    return usual_shape(pictures)


@pytest.mark.parametrize(
    ("sizes", "by_shorter", "by_longer"),
    [
        ([(192, 256)], (256, 192), (288, 224)),
        ([(640, 480)], (192, 256), (224, 288)),
        ([(640, 480), None], (192, 256), (224, 288)),
        ([(192, 256), (256, 192)], (192, 192), (288, 288)),
        ([(300, 300)], (192, 192), (288, 288)),
        ([(100, 900)], (384, 192), (288, 128)),
    ],
)
def test_images_of_one_shape_are_read_in_it_and_others_as_squares(
    sizes: list[tuple[int, int] | None], by_shorter: tuple[int, int], by_longer: tuple[int, int]
) -> None:
    shape = shape_of(*sizes)
    assert (shape.with_shorter(192, STRIDE), shape.with_longer(288, STRIDE)) == (by_shorter, by_longer)


def test_images_that_cannot_be_read_say_nothing() -> None:
    assert shape_of(None) == UsualShape(None, 1.0)
