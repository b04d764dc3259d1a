"""What the plan of --minutes begins with."""

from types import SimpleNamespace
from typing import Any

import pytest

from applications.training.planning import _wishes
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target


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
