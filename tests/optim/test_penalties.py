"""Claims about the penalties."""

import pytest
import torch
from torch import nn

from optim import PENALTIES
from optim.penalties import build_sparsity, learning_gammas, soft_threshold
from utils.errors import UserError


def test_the_proximal_step_moves_toward_zero_and_not_past_it():
    values = torch.tensor([1.0, -1.0, 0.2, -0.1, 0.0])
    soft_threshold(values, 0.25)
    assert torch.equal(values, torch.tensor([0.75, -0.75, 0.0, 0.0, 0.0]))


def test_sparsity_pulls_the_gammas_that_learn_and_nothing_else():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False))
    model[2].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    build_sparsity(0.1)(model, 0.5)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"1.weight"}
    assert torch.allclose(model[1].weight, torch.full((4,), 0.95))
    assert len(learning_gammas(model)) == 1


def test_every_row_builds_a_penalty_of_model_and_rate():
    for name in PENALTIES:
        PENALTIES.resolve(name)(1e-3)(nn.BatchNorm2d(2), 0.1)


@pytest.mark.parametrize("slim", [0.0, -1.0, float("nan")])
def test_an_impossible_strength_names_the_flag(slim):
    with pytest.raises(UserError, match="--slim"):
        build_sparsity(slim)
