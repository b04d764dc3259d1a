"""The widths of a network's layers as plain numbers, so that a pruned network can be built again (arXiv 1708.06519)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# Layer name -> [outputs, inputs, groups] of a convolution, [outputs, inputs] of a linear layer, [channels] of a batch norm.
LayerWidths = dict[str, list[int]]


def read_widths(model: nn.Module) -> LayerWidths:
    """Return the widths of all convolutions, linear layers and batch norms of a network."""
    found = {name: _widths(module) for name, module in model.named_modules()}
    return {name: widths for name, widths in found.items() if widths}


def set_widths(model: nn.Module, plan: Mapping[str, list[int]], *, classifier: nn.Module | None = None) -> None:
    """Give the layers of a network the widths of `plan`; a layer that has them already keeps its weights.

    The weights of changed layers are zeros until a state dict is loaded.

    Args:
        model: changed in place; layers that the plan does not name stay as they are.
        plan: what `read_widths` returned for a network of the same architecture.
        classifier: a layer that keeps its number of outputs.
    """
    for name, module in model.named_modules():
        own = _widths(module)
        wanted = list(plan.get(name, own))
        if len(wanted) != len(own):
            continue
        if module is classifier:
            wanted[0] = own[0]
        if wanted != own:
            _resize(module, wanted)


def _widths(module: nn.Module) -> list[int]:
    if isinstance(module, nn.Conv2d):
        return [module.out_channels, module.in_channels, module.groups]
    if isinstance(module, nn.Linear):
        return [module.out_features, module.in_features]
    if isinstance(module, _BatchNorm):
        return [module.num_features]
    return []


def _resize(module: nn.Module, widths: list[int]) -> None:
    outputs = widths[0]
    if isinstance(module, nn.Conv2d):
        module.out_channels, module.in_channels, module.groups = widths
        _replace(module, "weight", (outputs, widths[1] // widths[2], *module.kernel_size))
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = widths
        _replace(module, "weight", (outputs, widths[1]))
    elif isinstance(module, _BatchNorm):
        module.num_features = outputs
        for name in ("weight", "running_mean", "running_var"):
            _replace(module, name, (outputs,))
    _replace(module, "bias", (outputs,))


def _replace(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    old: Tensor | None = getattr(module, name)
    if isinstance(old, nn.Parameter):
        setattr(module, name, nn.Parameter(torch.zeros(shape, dtype=old.dtype, device=old.device), requires_grad=old.requires_grad))
    elif old is not None:
        setattr(module, name, torch.zeros(shape, dtype=old.dtype, device=old.device))
