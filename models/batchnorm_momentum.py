"""Batch-norm momentum that suits the length of an epoch (batch norm: arXiv 1502.03167).

Evaluation uses running averages that forget at the rate of the momentum. Families made for epochs of
many thousand steps publish 0.01: after a few hundred steps such averages still describe the network
as it was at its start, and evaluation stays at chance while training goes well. Before every validation
the statistics are measured again (`optim/batchnorm_recalibration.py`); the running averages serve what is saved inside an epoch.
"""

import math

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.options import fixed_bn_momentum
from utils.text import counted

# Upper limit: with more momentum the averages are as noisy as a single batch.
LARGEST = 0.5
# The averages look back over this part of an epoch: in short runs the weights move too fast for more.
PART = 1 / 30


def bn_momentum_for(published: float, steps_per_epoch: int) -> float:
    """Return the momentum for a run whose epochs have this many forward passes.

    max(published, min(0.5, 1 - e^(-30 / steps))): a batch has lost all but 37% of its weight after a thirtieth of an
    epoch, but for the shortest of epochs. Long epochs keep the published value.
    """
    assert steps_per_epoch >= 1
    return max(published, min(LARGEST, 1 - math.exp(-1 / (PART * steps_per_epoch))))


def set_bn_momentum(model: nn.Module, rule: str, *, steps_per_epoch: int) -> str:
    """Set the momentum of every batch-norm layer.

    Args:
        model: changed in place; its layers hold the published values.
        rule: 'auto' for `bn_momentum_for`, 'published' to change nothing, or a number above 0, up to 1.
        steps_per_epoch: forward passes in training mode in one epoch, at least 1.

    Returns:
        One line that says what changed, '' when nothing did.

    Raises:
        UserError: the rule is none of these.
    """
    fixed = fixed_bn_momentum(rule)
    if rule == "published":
        return ""
    changed: dict[tuple[float, float], int] = {}
    for layer in model.modules():
        # None means a plain average over all batches, which needs no help.
        if not isinstance(layer, _BatchNorm) or layer.momentum is None:
            continue
        wanted = bn_momentum_for(layer.momentum, steps_per_epoch) if fixed is None else fixed
        if wanted != layer.momentum:
            change = (layer.momentum, wanted)
            changed[change] = changed.get(change, 0) + 1
            layer.momentum = wanted
    if not changed:
        return ""
    moves = ", ".join(f"{old:g} -> {new:.3g} in {counted(count, 'layer')}" for (old, new), count in changed.items())
    reason = "as asked" if fixed is not None else f"for epochs of {counted(steps_per_epoch, 'step')}"
    return f"batch-norm momentum {moves}, {reason}"
