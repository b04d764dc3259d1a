"""Parts of the loop that can be looked at alone."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from applications.engine import fit
from applications.engine.fit import LossWatch
from utils.errors import UserError


def test_the_first_bad_loss_is_named_by_its_step() -> None:
    watch = LossWatch()
    for step, loss in enumerate((1.0, 2.0, float("inf"), float("nan"))):
        watch.add(step, torch.tensor(loss))
    with pytest.raises(UserError, match="step 3"):
        watch.check()


def test_good_losses_are_forgotten_once_looked_at() -> None:
    watch = LossWatch()
    watch.add(0, torch.tensor(1.0, requires_grad=True))
    watch.check()
    watch.check()
    watch.add(1, torch.tensor(float("nan")))
    with pytest.raises(UserError, match="step 2"):
        watch.check()


def test_a_bad_loss_is_noticed_before_weights_are_saved() -> None:
    watch = LossWatch()
    watch.add(4, torch.tensor(float("nan")))
    saved: list[Any] = []
    run: Any = SimpleNamespace(watch=watch, keeper=SimpleNamespace(save=lambda *what: saved.append(what)))
    with pytest.raises(UserError, match="step 5"):
        fit._save(run)
    assert saved == []
