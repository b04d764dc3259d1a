"""What the plan of --minutes begins with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from applications.settings.options import RunConfig
from applications.tasks.classify import Classify
from applications.training import planning
from applications.training.planning import Trial, _frozen_blocks, _wishes, measure_costs
from applications.training.time_plan import Wishes
from dataloader.images.preprocess import Preprocess
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
    parts.machine = SimpleNamespace(world=SimpleNamespace(size=1))
    assert _wishes(parts, {"image_size"}).stages is stages


def test_no_block_rests_where_every_layer_learns_to_be_rounded() -> None:
    config = RunConfig().override({"arch": "resnet18", "init_from": "best.pt"})
    parts: Any = SimpleNamespace(config=config, kind=Classify, catalog=SimpleNamespace(classes=("a", "b")))
    assert _frozen_blocks(parts, ()) > 0
    parts.config = config.override({"quantization_aware": True})
    assert _frozen_blocks(parts, ()) == 0


class HeldOut(list[int]):
    """Validation images, of which a part can be taken."""

    def subset(self, positions: range) -> range:
        return positions


@pytest.mark.parametrize("images", [3, 1000])
def test_reading_is_measured_on_a_few_validation_images(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    asked: list[range] = []
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: clock.seconds))

    def build_loader(config: RunConfig, split: range, *_: Any, **__: Any) -> Any:
        def batches(_: int) -> Iterator[None]:
            for number in range(len(split)):
                # The first one loads what decodes.
                clock.seconds += 0.005 if number else 0.1
                yield None

        assert (config.data.workers, config.data.batch_size) == (0, 1)
        asked.append(split)
        return SimpleNamespace(batches=batches)

    monkeypatch.setattr(planning.assemble, "build_loader", build_loader)
    trial: Any = Trial.__new__(Trial)
    catalog = SimpleNamespace(splits={"val": HeldOut(range(images))})
    trial.parts = SimpleNamespace(config=RunConfig(), catalog=catalog, preprocess=None, machine=None)
    assert trial.reading() == pytest.approx(0.005)
    assert len(asked[0]) == min(images, 8)
    assert asked[0][-1] > 0.8 * images - 2, "from all over the split"


@pytest.mark.parametrize(("most", "sizes"), [(math.inf, [(32, 32), (64, 96)]), (1.0, [(32, 32)])])
def test_a_size_whose_steps_would_take_too_much_of_the_budget_is_not_tried(
    most: float, sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(planning.time, "perf_counter", lambda: now[0])
    trial: Any = Trial.__new__(Trial)
    world = SimpleNamespace(size=2, gather=lambda value: [value, value / 2])
    data = SimpleNamespace(size_schedule="32:0.5", image_size=(64, 96), batch_size=16)
    trial.parts = SimpleNamespace(config=SimpleNamespace(data=data), machine=SimpleNamespace(world=world))

    class Images(list):
        copies = 1

    def batches(sized_as: int) -> Iterator[Any]:
        while True:
            batch = Images(range(8))
            batch.images = torch.zeros(8, 3, *((32, 32) if sized_as == 0 else (64, 96)))
            yield batch

    def step(batch: Any) -> Any:
        now[0] += 0.1
        return batch

    trial._endless, trial._step = batches, step
    # Five steps of 0.1 s at 32x32 are 3 s at 64x96, which has six times as many pixels.
    assert list(trial.training(0.1, most=most)) == sizes
    assert list(trial.training(0.1, most=3.1)) == [(32, 32), (64, 96)]


@dataclass
class Known:
    """What is known before a plan is made."""

    config: RunConfig
    preprocess: Preprocess
    machine: Any
    catalog: Any
    split: range = range(100)


@pytest.mark.parametrize(("workers", "readers"), [(4, 4), (1, 1), (0, 1), (None, 3)])
def test_an_image_of_validation_costs_its_scoring_and_its_part_of_reading(
    workers: int | None, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Measured:
        """Seconds of an image, as a trial gives them."""

        def __init__(self, parts: Known) -> None:
            self.size, self.model = parts.preprocess.image_size, nn.Linear(2, 2)

        def training(self, seconds: float, *, most: float) -> dict[tuple[int, int], float]:
            assert 0 < seconds < most
            return {self.size: 0.5}

        def scoring(self) -> float:
            return 0.02

        def reading(self) -> float:
            return 0.06

        def close(self) -> None:
            pass

    monkeypatch.setattr(planning, "Trial", Measured)
    monkeypatch.setattr(planning, "default_workers", lambda _: 3)
    world = SimpleNamespace(size=2, gather=lambda value: [value, (value[0], value[1] / 2, value[2])])
    config = RunConfig().override({"workers": workers})
    parts: Any = Known(config, Preprocess(), SimpleNamespace(world=world), SimpleNamespace(splits={"val": range(30)}))
    costs = measure_costs(parts, Wishes(((64, 96),), stages=False), minutes=1)
    assert costs.scored == 30
    assert costs.scoring.seconds((64, 96)) == pytest.approx((0.02 + 0.06 / readers) / 2), "of the slowest of two processes"
    assert costs.training.seconds((64, 96)) == pytest.approx(0.25)
