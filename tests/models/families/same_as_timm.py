"""The comparison of a transformer of ours with timm's of the same name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.backbone import Backbone
from models.weights import load_state

timm = pytest.importorskip("timm")


def blurred(net: nn.Module) -> nn.Module:
    """Move norms, biases, scales and tokens away from their start, which would hide what they do; no gradient."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim < 2 or parameter.shape[0] == 1:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return net.eval().requires_grad_(False)


def their_twin(arch: str, **settings: Any) -> nn.Module:
    """timm's network of this name with 7 classes, and weights that leave nothing at its start."""
    theirs = blurred(timm.create_model(arch, num_classes=7, **settings))
    head = theirs.get_classifier()
    nn.init.normal_(head.weight if isinstance(head, nn.Linear) else head[0].weight, std=0.1)
    return theirs


def assert_twins(
    ours: Backbone,
    theirs: Any,
    size: tuple[int, int],
    *,
    maps: Callable[[Any, Tensor], list[Tensor]],
    dtype: torch.dtype = torch.float32,
    same_cost: bool = True,
) -> None:
    """Their weights, read by our loader, give their logits, maps and multiply-adds, for two images of (height, width)."""
    ours.eval().requires_grad_(False).to(dtype)
    theirs.to(dtype)
    report = load_state(ours, theirs.state_dict(), source="timm")
    assert not report.missing
    assert not report.unexpected
    x = torch.randn(2, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))
    with FlopCounterMode(display=False) as count:
        logits = ours(x)
    with FlopCounterMode(display=False) as their_count:
        expected = theirs(x)
    assert expected.std() > 1e-2, "the comparison needs logits that differ"
    close = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 1e-9, "rtol": 1e-9}
    torch.testing.assert_close(logits, expected, **close)
    assert their_count.get_total_flops() > 0
    assert not same_cost or count.get_total_flops() == their_count.get_total_flops()
    found = ours.forward_features(x)
    torch.testing.assert_close(ours.forward_head(found), expected, **close)
    wanted = maps(theirs, x)
    assert [each.shape for each in found] == [each.shape for each in wanted]
    # The last map of a list of timm's has not gone through the final norm where there is one.
    for mine, other in zip(found[:-1], wanted[:-1], strict=True):
        torch.testing.assert_close(mine, other, **close)


def count_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def quarters(theirs: Any, x: Tensor) -> list[Tensor]:
    """Their tokens after each quarter of the blocks, as maps."""
    depth = len(theirs.blocks)
    ends = [depth * part // 4 - 1 for part in (1, 2, 3, 4)]
    return theirs.forward_intermediates(x, indices=ends, intermediates_only=True)


def stages(theirs: Any, x: Tensor) -> list[Tensor]:
    """What comes out of their four stages."""
    return theirs.forward_intermediates(x, indices=4, intermediates_only=True)
