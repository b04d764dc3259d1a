"""Batch-norm statistics measured for the current weights (precise batch norm: arXiv 2105.07576, section 3).

Running averages describe weights that training has left behind, the more so the faster they move.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from optim.param_groups import frozen_norms
from utils.distributed import World


def learning_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms whose statistics follow training: those that keep some, and are not frozen."""
    resting = set(frozen_norms(model))
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer not in resting]


def recalibrate_norms(model: nn.Module, batches: Iterable[Any], forward: Callable[[Any], object], *, world: World | None = None) -> int:
    """Set the statistics of batch norms that learn to their mean over training batches; return how many batches were seen.

    Every image counts the same. Without a batch nothing changes.

    Args:
        model: left in evaluation mode; everything but the norms is in it meanwhile, so that no dropout is counted.
        batches: of training images, as training sees them; len() of each is its images.
        forward: runs the model on one of them.
        world: the processes, each with batches of its own, whose mean is taken.
    """
    model.eval()
    layers = learning_norms(model)
    if not layers:
        return 0
    held = _statistics(layers)
    sums = [torch.zeros_like(value) for value in held]
    seen = images = 0
    with torch.no_grad(), _latest_batch_alone(layers):
        for batch in batches:
            if not seen:
                # A number that is not finite would stay in the average.
                for layer in layers:
                    layer.reset_running_stats()
            forward(batch)
            for total, value in zip(sums, held, strict=True):
                total.add_(value, alpha=len(batch))
            seen, images = seen + 1, images + len(batch)
        if images:
            means = _mean_of_all([total / images for total in sums], world or World())
            for value, mean in zip(held, means, strict=True):
                value.copy_(mean)
    return seen


def _statistics(layers: Sequence[_BatchNorm]) -> list[Tensor]:
    """Return the running means and variances, the tensors themselves."""
    found = [value for layer in layers for value in (layer.running_mean, layer.running_var)]
    return [value for value in found if value is not None]


def _mean_of_all(means: list[Tensor], world: World) -> list[Tensor]:
    """Return the mean over all processes, in one exchange."""
    if world.size == 1:
        return means
    everyone = world.gather_tensors(torch.cat([value.flatten() for value in means]))
    parts = torch.stack(everyone).mean(0).split([value.numel() for value in means])
    return [part.view_as(value) for part, value in zip(parts, means, strict=True)]


@contextmanager
def _latest_batch_alone(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let the layers normalize by their batch, and hold its statistics alone; their counters of batches stay."""
    before = [(layer.momentum, None if layer.num_batches_tracked is None else layer.num_batches_tracked.clone()) for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
        layer.train()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.eval()
            if count is not None and layer.num_batches_tracked is not None:
                layer.num_batches_tracked.copy_(count)
