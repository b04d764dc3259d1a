"""The room that checkpoints need on the disk, looked at before the first step."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from applications.settings.options import OptimOptions, RunConfig
from optim.optimizers import build_optimizer
from utils.checkpoint import check_space

# Moments that most optimizers keep for each weight; taken where a trial step fails.
USUAL_MOMENTS = 2.0


def check_disk(config: RunConfig, model: nn.Module, folder: Path) -> None:
    """Look for the room of the first checkpoint, and warn where that of the run may become too small.

    Args:
        config: of the run.
        model: its network.
        folder: where it goes.

    Raises:
        UserError: the first checkpoint will not fit.
    """
    weights = size_of(model.state_dict().values())
    learns = size_of(parameter for parameter in model.parameters() if parameter.requires_grad)
    averages = weights if config.optim.ema is not None or config.optim.swa is not None else 0
    first = weights + averages + round(learns * moments_of(config.optim))
    # Full checkpoints: last.pt, its successor while it is written, --save_every. Weights alone: best.pt, --keep, --soup.
    kept = 0 if config.train.save_every is None else config.train.epochs // config.train.save_every
    later = (2 + kept) * first + (weights + averages) * (1 + (config.train.keep or 0)) + weights * (config.optim.soup or 0)
    check_space(folder, first, later)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def moments_of(options: OptimOptions) -> float:
    """Return how many numbers the optimizer keeps for each that it learns, found by a step on a small layer."""
    # A step on the side moves no random numbers of the run.
    with torch.random.fork_rng(devices=[]), suppress(Exception):
        layer = nn.Linear(32, 32)
        # An optimizer that cannot make such a step may be of the user's own; what is wrong is told elsewhere.
        settings = {"lr": 1e-3, "momentum": options.momentum, "weight_decay": options.weight_decay, "opt_args": options.opt_args}
        optimizer = build_optimizer(options.opt, layer, **settings)
        layer(torch.ones(2, 32)).sum().backward()
        optimizer.step()
        kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
        return size_of(kept) / size_of(layer.parameters())
    return USUAL_MOMENTS
