"""Convolutions that took their batch norm in, as exported files have them: names found again, and norms measured again."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from models.modules import evaluating

# Images of this side show the order of the layers.
PROBE = 64


def named_by_order(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights and biases of convolutions under the names of this network's, which computes them in the same order.

    A bias that a convolution here does not have goes to the batch norm behind it, which then does nothing else. Where the numbers of
    convolutions differ the state is returned as it is.

    Args:
        model: whose convolutions have their batch norm beside them, under the name 'bn'.
        state: weights and biases by turns, in the order of computation.
    """
    convs = _in_order(model)
    pairs = list(zip(list(state.items())[::2], list(state.items())[1::2], strict=False))
    if len(pairs) != len(convs) or 2 * len(pairs) != len(state):
        return dict(state)
    modules = dict(model.named_modules())
    found: dict[str, Tensor] = {}
    for name, ((_, weight), (_, bias)) in zip(convs, pairs, strict=True):
        found[f"{name}.weight"] = weight
        norm = modules.get(f"{name.rpartition('.')[0]}.bn")
        if isinstance(norm, nn.BatchNorm2d):
            prefix = f"{name.rpartition('.')[0]}.bn"
            ones = torch.ones_like(bias)
            values = {"weight": ones * (1 + norm.eps) ** 0.5, "bias": bias, "running_mean": 0 * ones, "running_var": ones}
            found.update({f"{prefix}.{key}": value for key, value in values.items()})
        else:
            found[f"{name}.bias"] = bias
    return found


def _in_order(model: nn.Module) -> list[str]:
    """Return the names of the convolutions in the order of computation."""
    order: list[str] = []
    convs = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_pre_hook(lambda *_, name=name: order.append(name)) for name, module in convs]
    try:
        with evaluating(model), torch.no_grad():
            weight = convs[0][1].weight
            model(torch.zeros(1, convs[0][1].in_channels, PROBE, PROBE, device=weight.device, dtype=weight.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return order


def folded_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch norms whose statistics say nothing, as `named_by_order` leaves them, unless they are those of a fresh network."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return [norm for norm in norms if _is_folded(norm)]


def _is_folded(norm: nn.BatchNorm2d) -> bool:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    told = torch.full_like(norm.weight, (1 + norm.eps) ** 0.5)
    return bool((mean == 0).all() and (var == 1).all() and torch.equal(norm.weight, told))


@torch.no_grad()
def measure_folded(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Give folded batch norms the statistics of these images, in place, so that they can be trained; return how many there were.

    Scale and shift follow, so that the network computes what it did before. In training, where a norm takes the statistics of its
    batch, it then nearly does so, too.

    Args:
        model: with norms of `folded_norms`.
        batches: images (N, 3, H, W), normalized.
    """
    norms = folded_norms(model)
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64, device=norm.weight.device) for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        values = inputs[0].double()
        size = torch.full_like(norm.weight, values[:, 0].numel(), dtype=torch.float64)
        sums[norm] += torch.stack((size, values.sum((0, 2, 3)), values.square().sum((0, 2, 3))))

    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with evaluating(model):
            for images in batches if norms else ():
                model(images)
    finally:
        for handle in handles:
            handle.remove()
    for norm, (size, total, squares) in sums.items():
        mean = total / size
        var = (squares / size - mean.square()).clamp(min=0)
        scale = norm.weight / (1 + norm.eps) ** 0.5
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        norm.bias.add_(scale * mean)
    return len(norms)
