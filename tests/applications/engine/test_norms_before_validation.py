"""The batches on which batch-norm statistics are counted before a validation."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from applications.engine.norms_before_validation import BatchNormRecalibration, batches_to_count
from dataloader.sample import Batch
from optim.stepper import Stepper
from tests.applications.conftest import Call, read_rows
from utils.distributed import World


@pytest.mark.parametrize(
    ("images", "batch_size", "size", "batches", "wanted"),
    [
        (512, 32, 224, 1000, 16),
        (512, 32, 224, 40, 10),
        (512, 32, 224, 5, 4),
        (512, 32, 224, 2, 2),
        (512, 256, 224, 1000, 2),
        (512, 1024, 224, 1, 1),
        (512, 8, 1024, 1000, 11),
        (0, 32, 224, 1000, 0),
    ],
    ids=["long", "a quarter", "at least 128", "all there are", "large batches", "one batch", "large images", "off"],
)
def test_as_many_batches_as_time_and_memory_allow(images: int, batch_size: int, size: int, batches: int, wanted: int) -> None:
    assert batches_to_count(images, batch_size=batch_size, image_size=(size, size), batches_per_epoch=batches) == wanted


def batch(value: float) -> Batch:
    images = torch.full((4, 3, 4, 4), value)
    return Batch(images, torch.zeros(4, dtype=torch.long), torch.ones(4), torch.arange(4))


def fresh(model: nn.Module, *, batches: int, ema: Any = None, world: World | None = None) -> BatchNormRecalibration:
    stepper = Stepper(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        lambda _: 1.0,
        device_type="cpu",
        precision="fp32",
        ema=ema,
    )
    task: Any = SimpleNamespace(normalize=nn.Identity())
    return BatchNormRecalibration(model, task, stepper, [], batches=batches, device=torch.device("cpu"), world=world or World())


def test_the_latest_batches_count_and_none_twice() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    norms = fresh(model, batches=2)
    assert norms.first(0, 9) == 0
    for step, value in enumerate((9.0, 1.0, 3.0)):
        norms.hold(batch(value), step)
    norms.refresh()
    assert model[0].running_mean.tolist() == [2.0, 2.0, 2.0]
    model[0].running_mean.fill_(7.0)
    norms.refresh()
    assert model[0].running_mean.tolist() == [7.0, 7.0, 7.0]


def test_an_epoch_that_goes_on_reads_again_what_is_counted() -> None:
    norms = fresh(nn.Sequential(nn.BatchNorm2d(3)), batches=4)
    assert [norms.first(at, 10) for at in (0, 3, 6, 8, 10)] == [0, 3, 6, 6, 6]
    assert fresh(nn.Sequential(nn.Conv2d(3, 3, 1)), batches=4).first(8, 10) == 8, "nothing to count"


def test_the_averaged_weights_get_statistics_of_their_own_and_the_others_keep_theirs() -> None:
    from optim.ema import Ema

    model = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3))
    nn.init.dirac_(model[0].weight)
    ema = Ema(model, decay=0.999)
    norms = fresh(model, batches=1, ema=ema)
    with torch.no_grad():
        model[0].weight.mul_(5.0)
    model[1].running_mean.fill_(7.0)
    norms.first(0, 1)
    norms.hold(batch(2.0), 0)
    norms.refresh()
    assert ema.average()["1.running_mean"].tolist() == [2.0, 2.0, 2.0]
    assert model[1].running_mean.tolist() == [7.0, 7.0, 7.0]


def test_processes_take_the_mean_of_what_each_has_counted() -> None:
    class Two(World):
        def gather_tensors(self, tensor: torch.Tensor) -> list[torch.Tensor]:
            return [tensor, tensor + 4]

    model = nn.Sequential(nn.BatchNorm2d(3))
    norms = fresh(model, batches=1, world=Two(0, 2, 0))
    norms.first(0, 1)
    norms.hold(batch(1.0), 0)
    norms.refresh()
    assert model[0].running_mean.tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("more", [(), ("--ema",)], ids=["plain", "ema"])
def test_the_first_epoch_of_a_fast_family_is_validated_with_fresh_statistics(call: Call, more: tuple[object, ...]) -> None:
    """With running averages alone, all images were answered with one class."""
    flags = ("--data", "digits", "--image_size", 32, 32, "--arch", "mobilenetv3_small", "-j", 0, "-b", 64, "--epochs", 1)
    run = call(*flags, "--warmup", 0, "--lr", 0.003, "--drop_rate", 0, "--precision", "fp32", *more).run
    (row,) = read_rows(run / "metrics.csv")
    assert float(row["val_top1"]) > 0.5
