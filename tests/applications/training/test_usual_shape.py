"""What most training images have: the shape by which a plan or a probe chooses the size of its input."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from applications.training.time_plan import STRIDE
from applications.training.usual_shape import UsualShape, usual_shape
from dataloader.images.read import ImageError
from dataloader.opening.open_catalog import open_catalog


class Pictures:
    """Forty images of these heights and widths in turn; None cannot be read."""

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
        ([(256, 192)], (256, 192), (288, 224)),
        ([(480, 640)], (192, 256), (224, 288)),
        ([(480, 640), None], (192, 256), (224, 288)),
        ([(192, 256), (256, 192)], (192, 192), (288, 288)),
        ([(300, 300)], (192, 192), (288, 288)),
        ([(900, 100)], (384, 192), (288, 128)),
    ],
)
def test_images_of_one_shape_are_read_in_it_and_others_as_squares(
    sizes: list[tuple[int, int] | None], by_shorter: tuple[int, int], by_longer: tuple[int, int]
) -> None:
    shape = shape_of(*sizes)
    assert (shape.with_shorter(192, STRIDE), shape.with_longer(288, STRIDE)) == (by_shorter, by_longer)


def test_images_that_cannot_be_read_say_nothing() -> None:
    assert shape_of(None) == UsualShape(None, 1.0)


def test_portraits_in_files_are_read_upright(tmp_path: Path) -> None:
    for number in range(4):
        for split in ("train", "val"):
            (tmp_path / split / "a").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 40)).save(tmp_path / split / "a" / f"{number}.png")
    catalog = open_catalog(str(tmp_path), home=tmp_path / "home")
    assert usual_shape(catalog.splits["train"]) == UsualShape(30, 40 / 30)
