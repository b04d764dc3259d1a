"""The plan of --minutes looks at the images, and does without those that cannot be read."""

from types import SimpleNamespace
from typing import Any

from applications.training.planning import _usual_side
from applications.training.time_plan import LARGEST, candidate_sizes
from dataloader.images.read import ImageError


class Unreadable:
    def __len__(self) -> int:
        return 20

    def read_picture(self, index: int) -> Any:
        raise ImageError(f"{index}.jpg", "damaged")


def test_images_that_cannot_be_read_exclude_no_size() -> None:
    parts: Any = SimpleNamespace(split=Unreadable())
    assert (LARGEST, LARGEST) in candidate_sizes(_usual_side(parts))
