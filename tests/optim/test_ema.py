"""Claims about the averaged weights."""

import numpy as np
import pytest
import torch
from torch import nn

from optim.ema import Ema, ema_update, warm_decay
from utils.errors import UserError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def train_a_little(model):
    model(torch.randn(2, 3, 5, 5))
    with torch.no_grad():
        for param in model.parameters():
            param.add_(torch.randn_like(param))


def copies(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_one_update_is_the_formula():
    averages = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    ema_update(averages, [torch.tensor([5.0, -2.0]), torch.tensor([[7.0]])], 0.75)
    assert torch.equal(averages[0], torch.tensor([2.0, 1.0]))
    assert torch.equal(averages[1], torch.tensor([[4.0]]))


def test_weights_and_statistics_follow_the_formula_and_counters_are_copied(model):
    ema = Ema(model, decay=0.3)
    expected = {name: value.double().numpy() for name, value in copies(model).items()}
    for t in range(5):
        train_a_little(model)
        ema.update(model)
        d = min(0.3, (1 + t) / (10 + t))
        expected = {name: d * expected[name] + (1 - d) * value.double().numpy() for name, value in model.state_dict().items()}
    average = ema.average()
    assert int(average.pop("1.num_batches_tracked")) == 5
    for name, value in average.items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_the_decay_warms_up():
    assert [warm_decay(0.5, t) for t in (0, 2, 8, 9)] == [0.1, 0.25, 0.5, 0.5]


def test_applied_lends_the_averages_and_gives_the_weights_back_exactly(model):
    ema = Ema(model, decay=0.9)
    train_a_little(model)
    ema.update(model)
    own = copies(model)
    with ema.applied(model):
        inside = copies(model)
    assert all(torch.equal(inside[name], value) for name, value in ema.average().items())
    assert not torch.equal(inside["0.weight"], own["0.weight"])
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_the_weights_come_back_after_an_error_too(model):
    ema = Ema(model, decay=0.9)
    train_a_little(model)
    own = copies(model)

    def fail_inside():
        with ema.applied(model):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_inside()
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_saved_averages_continue_exactly(model, tmp_path):
    ema = Ema(model, decay=0.9)
    train_a_little(model)
    ema.update(model)
    torch.save(ema.state_dict(), tmp_path / "ema.pt")
    fresh = Ema(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), decay=0.9)
    fresh.load_state_dict(torch.load(tmp_path / "ema.pt", weights_only=True))
    train_a_little(model)
    ema.update(model)
    fresh.update(model)
    assert all(torch.equal(value, fresh.average()[name]) for name, value in ema.average().items())


def test_averages_of_another_model_are_refused(model):
    state = Ema(nn.Linear(2, 2), decay=0.9).state_dict()
    with pytest.raises(UserError, match="--arch"):
        Ema(model, decay=0.9).load_state_dict(state)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0, float("nan")])
def test_a_decay_outside_its_range_names_the_flag(model, decay):
    with pytest.raises(UserError, match="--ema"):
        Ema(model, decay=decay)
