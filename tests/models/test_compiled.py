"""What of a training is compiled."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models import build_model
from models.compiled import compile_training
from utils.errors import UserError


def test_whole_training_batches_are_compiled_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def recorded(plain: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
        assert not dynamic

        def call(images: torch.Tensor) -> Any:
            seen.append(len(images))
            return plain(images)

        return call

    monkeypatch.setattr(torch, "compile", recorded)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
    names = list(model.state_dict())
    compile_training(model)
    for count in (4, 2, 4):
        model(torch.zeros(count, 3, 2, 2))
    with torch.no_grad():
        model(torch.zeros(4, 3, 2, 2))
    model.eval()
    model(torch.zeros(4, 3, 2, 2))
    assert seen == [4, 4]
    assert list(model.state_dict()) == names


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def missing() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    with pytest.raises(UserError, match="install g\\+\\+, or leave --compile out"):
        compile_training(nn.Conv2d(3, 2, 1))


@pytest.mark.slow
def test_compiled_steps_agree_with_plain_ones_random_draws_included() -> None:
    losses = []
    for compiles in (False, True):
        torch.manual_seed(0)
        model = build_model("efficientnet_b0", num_classes=3)
        if compiles:
            compile_training(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        images, targets = torch.randn(8, 3, 64, 64), torch.arange(8) % 3
        found = []
        for step in range(3):
            torch.manual_seed(step)
            loss = nn.functional.cross_entropy(model(images), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.detach())
        losses.append(torch.stack(found))
    torch.testing.assert_close(losses[1], losses[0], atol=1e-3, rtol=1e-3)
