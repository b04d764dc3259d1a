"""The plan of --minutes looks at the images, and does without those that cannot be read."""

from types import SimpleNamespace
from typing import Any

import pytest

from applications.training.planning import _usual_side, _wishes
from applications.training.time_plan import LARGEST, candidate_sizes
from dataloader.images.read import ImageError
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target


class Unreadable:
    def __len__(self) -> int:
        return 20

    def read_picture(self, index: int) -> Any:
        raise ImageError(f"{index}.jpg", "damaged")


def test_images_that_cannot_be_read_exclude_no_size() -> None:
    parts: Any = SimpleNamespace(split=Unreadable())
    assert (LARGEST, LARGEST) in candidate_sizes(_usual_side(parts))


@pytest.mark.parametrize(
    ("target", "weights", "crop", "stages"),
    [
        (Label, None, False, True),
        (Label, "weights.pth", False, False),
        (Mask, None, False, True),
        (Mask, "weights.pth", False, True),
        (Mask, "weights.pth", True, False),
        (Boxes, None, False, False),
        (Boxes, "weights.pth", False, False),
    ],
)
def test_small_images_come_first_where_a_decoder_or_all_is_learned_anew(
    target: type[Target], weights: str | None, crop: bool, stages: bool
) -> None:
    data = SimpleNamespace(image_size=(128, 192), size_schedule=None, batch_size=8, batch=None, epoch_size=None)
    model = SimpleNamespace(pretrained=None, init_from=weights)
    config: Any = SimpleNamespace(data=data, model=model, truths=SimpleNamespace(crop=crop), optim=SimpleNamespace(warmup=None))
    kind = SimpleNamespace(build_model=lambda *_: None)
    parts: Any = SimpleNamespace(config=config, kind=kind, catalog=SimpleNamespace(target=target, classes=("a", "b")))
    assert _wishes(parts, {"image_size"}).stages is stages
