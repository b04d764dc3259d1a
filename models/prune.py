"""Physical removal of the channels with the smallest batch-norm scales (network slimming, arXiv 1708.06519)."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.backbone import Backbone
from utils.errors import UserError

# No layer loses more than this share of its channels, whatever its scales say.
MOST = 0.9
# Far below any scale that training leaves above zero.
TIE = 1e-9


def prune_channels(model: Backbone, share: float, *, image_size: tuple[int, int]) -> None:
    """Remove about this share of all channels from a network, in place: those with the smallest scales anywhere in it.

    Channels that belong together (across a shortcut, say) go together; the logits stay.

    Args:
        model: in evaluation mode, on the CPU.
        share: in (0, 1).
        image_size: (height, width) of an image to trace the network with.

    Raises:
        UserError: the share is out of range, or the network cannot be pruned.
    """
    if not 0 < share < 1:
        raise UserError(f"--prune {share:g} is outside (0, 1); 0.5 removes half of the channels")
    if not any(isinstance(module, _BatchNorm) and module.affine for module in model.modules()):
        raise UserError("--prune chooses channels by their batch-norm scales, and this model has no batch norm")
    try:
        import torch_pruning as tp
    except ImportError as error:
        raise UserError("--prune needs the package torch-pruning: pip install torch-pruning") from error
    learning = {name for name, param in model.named_parameters() if param.requires_grad}
    model.requires_grad_(True)
    try:
        # Its own notes about layers that it leaves alone are no news to the user.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = tp.pruner.BasePruner(
                model,
                torch.zeros(1, 3, *image_size),
                importance=partial(_importance, tp.importance.BNScaleImportance(normalizer=None)),  # pyright: ignore[reportArgumentType]
                pruning_ratio=share,
                global_pruning=True,
                ignored_layers=[model.get_classifier()],
            )
            pruner.step()
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"--prune cannot follow the channels of this model ({reason})") from error
    for name, param in model.named_parameters():
        param.requires_grad_(name in learning)


def _importance(scales: Callable[[Any], Tensor | None], group: Any) -> Tensor | None:
    """Return how much each channel of a group matters, (channels,): its scale, distinct for all, infinite for those that stay.

    A strong penalty leaves many scales at exactly zero: as equals they could only go all together, and no layer can.
    """
    found = scales(group)
    if found is None:
        return None
    found = found.double()
    order = found.argsort(stable=True)
    distinct = torch.empty_like(found)
    distinct[order] = found[order] + TIE * torch.arange(1, len(found) + 1) / len(found)
    distinct[order[int(MOST * len(found)) :]] = torch.inf
    return distinct


def largest_difference(one: nn.Module, two: nn.Module, image_size: tuple[int, int]) -> float:
    """Return the largest difference of the logits of two networks on noise, both in evaluation mode."""
    images = torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float((one(images) - two(images)).abs().max())
