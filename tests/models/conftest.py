"""Weights that leave nothing to chance, and the comparison of two networks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.backbone import Backbone
from models.weights import load_state


def _randomize(net: nn.Module) -> nn.Module:
    """Draw batch-norm numbers as training would leave them: fresh ones hide wrong blocks."""
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.uniform_(0.4, 0.9)
            layer.bias.data.uniform_(-0.2, 0.2)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.7, 1.4)
    return net


def _assert_same_logits(ours: nn.Module, theirs: nn.Module, size: tuple[int, int] = (96, 64)) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        a, b = ours.eval()(x), theirs.eval()(x)
    assert a.std() > 1e-3, "the comparison needs logits that differ"
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def _assert_parity(ours: Backbone, theirs: nn.Module, size: tuple[int, int] = (64, 48), dtype: torch.dtype = torch.float32) -> None:
    """Their weights, by our loader, give their maps, logits, parameters and multiply-adds; `theirs` is of timm."""
    report = load_state(ours, theirs.state_dict(), source="theirs")
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    ours.to(dtype).eval(), theirs.to(dtype).eval()
    x = torch.randn(2, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))
    tolerance = 1e-4 if dtype is torch.float32 else 1e-9
    with torch.inference_mode():
        (a, flops), (b, their_flops) = _counted(ours, x), _counted(theirs, x)
        assert a.std() > 1e-3, "the comparison needs logits that differ"
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
        maps, (_, their_maps) = ours.forward_features(x), theirs.forward_intermediates(x)
        for mine, other in zip(maps, their_maps, strict=True):
            torch.testing.assert_close(mine, other, atol=tolerance, rtol=tolerance)
    assert sum(each.numel() for each in ours.parameters()) == sum(each.numel() for each in theirs.parameters())
    assert flops == their_flops


def _counted(net: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    with FlopCounterMode(display=False) as counter:
        return net(x), counter.get_total_flops()


def _gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Gradients of a loss in training mode, dropout off."""
    net.train()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    net.zero_grad()
    torch.nn.functional.cross_entropy(net(x), torch.arange(len(x))).backward()
    return [each.grad for each in net.parameters() if each.grad is not None]


@pytest.fixture
def randomize() -> Callable[[nn.Module], nn.Module]:
    return _randomize


@pytest.fixture
def assert_same_logits() -> Callable[..., None]:
    return _assert_same_logits


@pytest.fixture
def assert_parity() -> Callable[..., None]:
    return _assert_parity


@pytest.fixture
def assert_same_gradients() -> Callable[[nn.Module, nn.Module], None]:
    def check(ours: nn.Module, theirs: nn.Module, size: tuple[int, int] = (96, 64)) -> None:
        dtype = next(ours.parameters()).dtype
        x = torch.randn(4, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(2))
        a, b = _gradients(ours, x), _gradients(theirs, x)
        assert len(a) == len(b) > 10
        for mine, other in zip(a, b, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)

    return check
