"""Physical removal of the channels that a network misses least (arXiv 1708.06519, 1906.10771)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.backbone import Backbone
from models.slimming.channel_groups import ChannelGroups, UnitMasks, masked_units
from utils.errors import UserError
from utils.networks.first_conv import input_channels

# No group of channels loses more than this share of them, whatever their scores say.
MOST = 0.9
# Pruning rounds; importance is measured again in each, since it changes as channels are removed.
ROUNDS = 5

# Computes the losses of some images with the present network, one sum for each batch.
Losses = Callable[[], Iterable[Tensor]]
# (groups, which units stay) -> how much each unit matters, (U,) a group, in a measure that is the same for all groups.
Importance = Callable[[ChannelGroups, UnitMasks], list[Tensor]]


@dataclass(frozen=True)
class NetworkSize:
    """How large a network is: channels that could go, and multiply-adds of convolutions and linear layers for one image."""

    channels: int
    multiply_adds: float


def prune_channels(
    model: Backbone, share: float, *, image_size: tuple[int, int], importance: Importance
) -> tuple[NetworkSize, NetworkSize]:
    """Remove this share of all multiply-adds from a network, in place; return its size before and after.

    The channels go that matter least for what they save, anywhere in the network. Those that belong together (across a shortcut,
    say) go together; the logits stay.

    Args:
        model: in evaluation mode, on the CPU.
        share: of the multiply-adds of convolutions and linear layers, in (0, 1).
        image_size: (height, width) of the images.
        importance: what each channel is worth.

    Raises:
        UserError: the share is out of range, or the network cannot be pruned so far.
    """
    if not 0 < share < 1:
        raise UserError(f"--prune {share:g} is outside (0, 1); 0.5 removes half of the multiply-adds")
    if not any(isinstance(module, _BatchNorm) and module.affine for module in model.modules()):
        raise UserError("--prune chooses channels by what their batch norms put out, and this model has no batch norm")
    groups = ChannelGroups(model, model.get_classifier(), image_size)
    kept = groups.everything()
    before = NetworkSize(groups.channels(kept), groups.multiply_adds(kept))
    least = groups.multiply_adds(_without(kept, _removable(kept, [torch.zeros(len(stay)) for stay in kept]))) / before.multiply_adds
    if share > 1 - least:
        raise UserError(f"--prune {share:g}: at most {1 - least:.2f} of the multiply-adds of this model can go")
    for number in range(1, ROUNDS + 1):
        wanted = before.multiply_adds * (1 - share * number / ROUNDS)
        kept = _choose(groups, kept, importance(groups, kept), wanted)
    after = NetworkSize(groups.channels(kept), groups.multiply_adds(kept))
    groups.remove(kept)
    return before, after


def taylor_importance(losses: Losses) -> Importance:
    """Return the importance by how much the loss of an image would change without the channel, to first order.

    It is the mean over images of the squared change (Molchanov et al., arXiv 1906.10771). Where a channel is written by several
    norms, as across a shortcut, the changes of all of them are added up before they are squared: a norm whose scale is
    zero adds nothing, and takes nothing from what others write.
    """

    def score(groups: ChannelGroups, kept: UnitMasks) -> list[Tensor]:
        squares, images = [torch.zeros(group.units) for group in groups.groups], 0
        with masked_units(groups.groups, kept) as gates:
            for loss in losses():
                found = dict(zip(gates, torch.autograd.grad(loss, list(gates.values())), strict=True))
                for group, sums in zip(groups.groups, squares, strict=True):
                    changes = torch.zeros(len(next(iter(found.values()))), group.units)
                    for side in group.norms:
                        changes.index_add_(1, side.units, found[side.layer][:, side.positions])
                    sums += changes.square().sum(0)
                images += len(next(iter(found.values())))
        return [sums / max(1, images) for sums in squares]

    return score


def _choose(groups: ChannelGroups, kept: UnitMasks, scores: Sequence[Tensor], wanted: float) -> list[Tensor]:
    """Return what stays when units go, the least important for what they save first, until the network costs no more than wanted."""
    worth = [score.double() / saved.clamp(min=1.0) for score, saved in zip(scores, groups.savings(kept), strict=True)]
    order = _removable(kept, worth)
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if groups.multiply_adds(_without(kept, order[:middle])) <= wanted:
            high = middle
        else:
            low = middle + 1
    return _without(kept, order[:low])


def _removable(kept: UnitMasks, worth: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return the (group, unit) pairs that may still go, the least worthy first; of equals each group gives its share in turn."""
    found = []
    for number, (stay, values) in enumerate(zip(kept, worth, strict=True)):
        left = stay.nonzero().flatten()
        allowed = int(MOST * len(stay)) - int((~stay).sum())
        ranked = left[values[left].argsort(stable=True)][: max(0, allowed)].tolist()
        found += [(float(values[unit]), place / len(stay), number, unit) for place, unit in enumerate(ranked)]
    return [(number, unit) for _, _, number, unit in sorted(found)]


def _without(kept: UnitMasks, gone: Iterable[tuple[int, int]]) -> list[Tensor]:
    left = [stay.clone() for stay in kept]
    for group, unit in gone:
        left[group][unit] = False
    return left


def largest_difference(one: nn.Module, two: nn.Module, image_size: tuple[int, int]) -> float:
    """Return the largest difference of the logits of two networks on noise, both in evaluation mode."""
    images = torch.randn(2, input_channels(one), *image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float((one(images) - two(images)).abs().max())
