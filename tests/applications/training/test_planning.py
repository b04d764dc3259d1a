"""What the plan of --minutes begins with."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from applications.settings.options import RunConfig
from applications.training import planning
from applications.training.planning import Trial, _wishes
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


class HeldOut(list[int]):
    """Validation images, of which a part can be taken."""

    def subset(self, positions: range) -> range:
        return positions


@pytest.mark.parametrize("images", [3, 1000])
def test_reading_is_measured_on_a_few_validation_images(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    asked: list[range] = []

    def build_loader(config: RunConfig, split: range, *_: Any, **__: Any) -> Any:
        def batches(_: int) -> Iterator[None]:
            for number in range(len(split)):
                # The first one loads what decodes.
                time.sleep(0.005 if number else 0.1)
                yield None

        assert (config.data.workers, config.data.batch_size) == (0, 1)
        asked.append(split)
        return SimpleNamespace(batches=batches)

    monkeypatch.setattr(planning.assemble, "build_loader", build_loader)
    trial: Any = Trial.__new__(Trial)
    catalog = SimpleNamespace(splits={"val": HeldOut(range(images))})
    trial.parts = SimpleNamespace(config=RunConfig(), catalog=catalog, preprocess=None, machine=None)
    assert trial.reading() == pytest.approx(0.005, rel=0.5)
    assert len(asked[0]) == min(images, 8)
    assert asked[0][-1] > 0.8 * images - 2, "from all over the split"
