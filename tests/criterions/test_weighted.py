"""Claims about the weighted loss: its reduction, its seam for weighters, its messages."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from criterions import CRITERIONS
from criterions.weighted import build_criterion
from utils.errors import UserError


class Watcher(nn.Module):
    """A weighter that doubles one class, remembers what it saw, and counts its training batches."""

    def __init__(self, classes, column):
        super().__init__()
        factors = torch.ones(classes)
        factors[column] = 2
        self.register_buffer("factors", factors)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, probabilities, targets):
        self.saw = (probabilities, targets)
        if self.training:
            self.batches += 1
        return self.factors.expand_as(probabilities)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 2, (6, 4)))
    targets = torch.from_numpy(rng.dirichlet(np.ones(4), 6))
    weights = torch.from_numpy(rng.uniform(0, 2, 6))
    return logits, targets, weights


@pytest.mark.parametrize("name", CRITERIONS)
def test_every_criterion_averages_weighted_samples(name, batch):
    logits, targets, weights = batch
    criterion = build_criterion(name)
    by_hand = sum(float(w) * float(loss) for w, loss in zip(weights, criterion.plain(logits, targets), strict=True)) / 6
    assert float(criterion(logits, targets, weights)) == pytest.approx(by_hand, rel=1e-12)


def test_softmax_and_bce_are_the_losses_of_torch(batch):
    logits, targets, _ = batch
    ones = torch.ones(6, dtype=torch.float64)
    assert float(build_criterion("softmax", label_smoothing=0.1)(logits, targets, ones)) == pytest.approx(
        float(F.cross_entropy(logits, targets, label_smoothing=0.1)), rel=1e-12
    )
    theirs = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 6
    assert float(build_criterion("bce")(logits, targets, ones)) == pytest.approx(float(theirs), rel=1e-12)


@pytest.mark.parametrize("name", CRITERIONS)
def test_weighters_multiply_terms_class_by_class(name, batch):
    logits, targets, weights = batch
    terms = CRITERIONS.resolve(name).terms(logits, targets)
    factors = torch.tensor([2.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    expected = ((terms * factors).sum(1) * weights).mean()
    criterion = build_criterion(name, weighters=[Watcher(4, 0), Watcher(4, 2)])
    assert float(criterion(logits, targets, weights)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("name", CRITERIONS)
def test_weighters_see_trained_probabilities_without_gradient(name, batch):
    logits, targets, weights = batch
    logits.requires_grad_()
    watcher = Watcher(4, 0)
    criterion = build_criterion(name, label_smoothing=0.2, weighters=[watcher])
    criterion(logits, targets, weights)
    probabilities, seen = watcher.saw
    assert not probabilities.requires_grad
    assert torch.equal(probabilities, criterion.probabilities(logits))
    assert torch.allclose(seen, targets * 0.8 + 0.05)


def test_weighter_state_is_saved_and_rests_in_evaluation(batch):
    criterion = build_criterion("softmax", weighters=[Watcher(4, 0)])
    criterion(*batch)
    criterion.eval()
    criterion(*batch)
    assert int(criterion.state_dict()["weighters.0.batches"]) == 1


@pytest.mark.parametrize("name", CRITERIONS)
def test_the_plain_loss_knows_no_smoothing_and_no_weights(name, batch):
    logits, targets, _ = batch
    dressed = build_criterion(name, label_smoothing=0.3, weighters=[Watcher(4, 1)])
    assert torch.equal(dressed.plain(logits, targets), build_criterion(name).plain(logits, targets))
    assert dressed.plain(logits, targets).shape == (6,)


def test_a_criterion_names_its_activation():
    assert build_criterion("softmax").activation == "softmax"
    assert build_criterion("bce").activation == "sigmoid"


@pytest.mark.parametrize("name", CRITERIONS)
def test_the_loss_of_half_precision_logits_is_float32(name, batch):
    logits, targets, weights = batch
    loss = build_criterion(name)(logits.detach().bfloat16(), targets.float(), weights.float())
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_smoothing_outside_its_range_names_the_flag(share):
    with pytest.raises(UserError, match="--label_smoothing"):
        build_criterion("softmax", label_smoothing=share)


def test_an_unknown_criterion_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean softmax"):
        build_criterion("softmaxx")


def test_a_criterion_of_the_user_must_be_elementwise(tmp_path):
    (tmp_path / "mine.py").write_text("WRONG = 3\n")
    with pytest.raises(UserError, match="Elementwise"):
        build_criterion(f"{tmp_path}/mine.py:WRONG")


def test_index_targets_are_refused(batch):
    logits, _, weights = batch
    with pytest.raises(AssertionError, match="dense"):
        build_criterion("softmax")(logits, torch.zeros(6, dtype=torch.long), weights)
