"""Claims about sharpness-aware minimization."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from optim.optimizers import build_optimizer
from optim.sam import ascend, checked_radius, statistics_kept, undo_ascent
from optim.stepper import Stepper
from utils.errors import UserError


def test_a_step_uses_the_gradient_at_the_worst_point_nearby():
    # loss = sum(a w^2) / 2, so the gradient at w is a w: float64 numpy follows the paper.
    a, w, rho, lr = np.array([1.0, 3.0]), np.array([2.0, -1.0]), 0.1, 0.05
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(w[None]))
    optimizer = build_optimizer("sgd", model, lr=lr, momentum=0, weight_decay=0)
    stepper = Stepper(model, optimizer, lambda _step: 1.0, device_type="cpu", precision="fp32", sam=rho)

    def loss():
        return (torch.from_numpy(a) * model.weight.square()).sum() / 2

    for _ in range(3):
        grad = a * w
        w = w - lr * a * (w + rho * grad / np.linalg.norm(grad))
        stepper.step(loss(), 1.0, closes_group=True, again=loss)
        np.testing.assert_allclose(model.weight.detach().numpy()[0], w, rtol=1e-9)


def test_weights_come_down_to_exactly_where_they_were():
    model = nn.Linear(3, 2)
    before = [param.detach().clone() for param in model.parameters()]
    for param in model.parameters():
        param.grad = torch.randn_like(param)
    saved = ascend(list(model.parameters()), 0.1)
    moved = torch.cat([(param.detach() - old).flatten() for param, old in zip(model.parameters(), before, strict=True)])
    assert float(moved.norm()) == pytest.approx(0.1, rel=1e-4)
    undo_ascent(list(model.parameters()), saved)
    assert all(torch.equal(param, old) for param, old in zip(model.parameters(), before, strict=True))


def test_the_second_look_leaves_batch_norm_statistics_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 3))
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 3))
    twin.load_state_dict(model.state_dict())
    images, labels = torch.randn(4, 3, 5, 5), torch.tensor([0, 1, 2, 0])
    twin(images)
    optimizer = build_optimizer("adamw", model, lr=0.1, momentum=0.9, weight_decay=0)
    stepper = Stepper(model, optimizer, lambda _step: 1.0, device_type="cpu", precision="fp32", sam=0.05)
    stepper.step(F.cross_entropy(model(images), labels), 1.0, closes_group=True, again=lambda: F.cross_entropy(model(images), labels))
    assert torch.equal(model[1].running_mean, twin[1].running_mean)
    assert int(model[1].num_batches_tracked) == 1
    assert model[1].track_running_stats


def test_statistics_count_again_after_an_error():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(RuntimeError), statistics_kept(layer):
        raise RuntimeError
    assert layer.track_running_stats


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan")])
def test_an_impossible_radius_names_the_flag(rho):
    with pytest.raises(UserError, match="--sam"):
        checked_radius(rho)
