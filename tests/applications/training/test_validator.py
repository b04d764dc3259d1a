"""Several processes validate one network: that which is saved."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from applications.training import validator
from models.fake_quantization import fake_quantize, input_ranges
from utils.distributed import World


def _one_of_two(rank: int, folder: str) -> None:
    """Record ranges of inputs and batch-norm statistics of one's own, validate, and tell what validation has seen."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    fake_quantize(net, (6, 6))
    net.train()((1 + rank) * torch.randn(4, 3, 6, 6))
    told: dict[str, Any] = {"before": _counted(net)}

    def score(model: nn.Module, *_: Any, **__: Any) -> Any:
        told["seen"] = _counted(model)
        return SimpleNamespace(figures=lambda: {"loss": 0.0})

    validator.score = score
    nothing = SimpleNamespace(calibrate=lambda _: None, calibration=lambda: None, load_calibration=lambda _: None)
    machine = SimpleNamespace(world=World(rank, 2), device=None, fp32_autocast=nullcontext)
    loader = SimpleNamespace(batches=lambda _: (), split=())
    parts: Any = SimpleNamespace(machine=machine, task=nothing, model=net, val_loader=loader)
    validator.build_validator(parts, None, parts)()
    torch.save(told, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _counted(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in (net.state_dict() | {f"range of {n}": v for n, v in input_ranges(net).items()}).items()}


@pytest.mark.slow
def test_two_processes_validate_with_the_statistics_and_ranges_of_the_first(tmp_path: Path) -> None:
    mp.start_processes(_one_of_two, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    followed = [name for name, value in first["before"].items() if not value.equal(second["before"][name])]
    assert set(followed) == {"range of 0", "range of 2", "1.running_mean", "1.running_var"}
    for name, value in first["seen"].items():
        assert value.equal(second["seen"][name]), name
        assert value.equal(first["before"][name]), "what is saved"
