"""Claims about the weighted loss: its reduction, its seam for weighters, its messages."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from criterions import CRITERIONS
from criterions.elementwise import bce, bce_terms, smooth, softmax, softmax_terms
from criterions.weighted import Criterion, build_criterion, build_elementwise
from criterions.weighters.weighter import Weighter
from tests.criterions.conftest import names, write_cost
from utils.errors import UserError
from utils.spec import Spec, parse_specs


class Watcher(Weighter):
    """Doubles one class, remembers what it saw, and counts its training batches."""

    def __init__(self, classes=4, column=0):
        super().__init__()
        factors = torch.ones(classes)
        factors[column] = 2
        self.register_buffer("factors", factors)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def forward(self, probabilities, targets, *, hardness):
        self.saw = (probabilities, targets, hardness)
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
    losses = build_elementwise(Spec(name)).terms(logits, targets).sum(1)
    by_hand = sum(float(w) * float(loss) for w, loss in zip(weights, losses, strict=True)) / 6
    assert float(build_criterion([Spec(name)])(logits, targets, weights)) == pytest.approx(by_hand, rel=1e-12)


def test_softmax_and_bce_are_the_losses_of_torch(batch):
    logits, targets, _ = batch
    ones = torch.ones(6, dtype=torch.float64)
    assert float(build_criterion([Spec("softmax")], label_smoothing=0.1)(logits, targets, ones)) == pytest.approx(
        float(F.cross_entropy(logits, targets, label_smoothing=0.1)), rel=1e-12
    )
    theirs = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / 6
    assert float(build_criterion([Spec("bce")])(logits, targets, ones)) == pytest.approx(float(theirs), rel=1e-12)


@pytest.mark.parametrize("elementwise", [softmax(), bce()], ids=["softmax", "bce"])
def test_weighters_multiply_terms_class_by_class(elementwise, batch):
    logits, targets, weights = batch
    factors = torch.tensor([2.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    expected = ((elementwise.terms(logits, targets) * factors).sum(1) * weights).mean()
    carried = weights[:, None] * (targets if elementwise.activation == "softmax" else torch.ones_like(targets))
    mean = (factors * carried).sum() / carried.sum()
    criterion = Criterion(elementwise, weighters={"one": Watcher(4, 0), "two": Watcher(4, 2)})
    assert float(criterion(logits, targets, weights)) == pytest.approx(float(expected / mean), rel=1e-6)


@pytest.mark.parametrize("elementwise", [softmax(), bce()], ids=["softmax", "bce"])
def test_weighters_see_trained_probabilities_without_gradient(elementwise, batch):
    logits, targets, weights = batch
    logits.requires_grad_()
    watcher = Watcher()
    shift = np.array([1.0, 0.0, -1.0, 0.5])
    criterion = Criterion(elementwise, label_smoothing=0.2, logit_shift=shift, weighters={"watcher": watcher})
    criterion(logits, targets, weights)
    probabilities, seen, hardness = watcher.saw
    assert not probabilities.requires_grad
    assert torch.equal(probabilities, criterion.probabilities(logits + torch.from_numpy(shift)))
    assert torch.equal(seen, targets), "smoothing does not change what an image shows"
    apart = (probabilities - smooth(targets, 0.2)).abs()
    assert torch.allclose(hardness, apart.sum(1, keepdim=True) / 2 if elementwise.activation == "softmax" else apart)


def test_logit_adjustment_shifts_the_training_loss_by_the_log_of_the_prior(batch):
    logits, targets, _ = batch
    ones = torch.ones(6, dtype=torch.float64)
    counts = [60, 30, 8, 2]
    criterion = build_criterion([Spec("softmax")], classes=names(4), class_counts=counts, logit_adjust=0.5)
    shifted = logits + 0.5 * torch.log(torch.tensor(counts, dtype=torch.float64) / 100)
    assert float(criterion(logits, targets, ones)) == pytest.approx(float(F.cross_entropy(shifted, targets)), rel=1e-6)
    assert torch.equal(criterion.probabilities(logits), logits.softmax(1)), "predictions do without it"


def test_logit_adjustment_is_refused_for_sigmoids():
    with pytest.raises(UserError, match="--logit_adjust"):
        build_criterion([Spec("bce")], class_counts=[1, 2], logit_adjust=1.0)


def test_the_state_of_a_changed_loss_is_taken_where_it_fits(batch):
    old = Criterion(bce(), weighters={"stays": Watcher(), "goes": Watcher(), "grows": Watcher(3)})
    old.weighters["stays"].batches += 5
    old.weighters["grows"].batches += 5
    new = Criterion(bce(), weighters={"new": Watcher(), "grows": Watcher(4), "stays": Watcher()})
    new.load_state_dict(old.state_dict())
    assert int(new.weighters["stays"].batches) == 5
    assert int(new.weighters["new"].batches) == 0
    assert torch.equal(new.weighters["grows"].factors, Watcher(4).factors)
    new(*batch)


def test_counts_of_another_kind_in_a_checkpoint_are_left_and_it_is_said(caplog):
    criterion = build_criterion(parse_specs("softmax|ghm"))
    with caplog.at_level(logging.INFO, logger="darkroom"):
        criterion.load_state_dict({"weighters.ghm.moving": torch.full((30,), 640.0)})
    assert not criterion.weighters["ghm"].bin_counts.any()
    assert "begun afresh: the counts of weighters.ghm" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="darkroom"):
        build_criterion(parse_specs("softmax|ghm")).load_state_dict(criterion.state_dict())
    assert not caplog.text


@pytest.mark.parametrize("name", CRITERIONS)
def test_the_plain_loss_is_the_cross_entropy_whatever_trains(name, batch):
    logits, targets, _ = batch
    dressed = Criterion(build_elementwise(Spec(name)), label_smoothing=0.3, logit_shift=np.ones(4), weighters={"watcher": Watcher()})
    terms = {"softmax": softmax_terms, "sigmoid": bce_terms}[dressed.activation]
    assert torch.equal(dressed.plain(logits, targets), terms(logits, targets).sum(1))


def test_a_criterion_names_its_activation():
    assert build_criterion([Spec("focal")]).activation == "softmax"
    assert build_criterion([Spec("asymmetric")]).activation == "sigmoid"


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_smoothing_outside_its_range_names_the_flag(share):
    with pytest.raises(UserError, match="--label_smoothing"):
        build_criterion([Spec("softmax")], label_smoothing=share)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("softmaxx", "Did you mean softmax"),
        ("softmax|gmh", "Did you mean ghm"),
        ("softmax(3)", "softmax()"),
        ("focal(gama=2)", "focal(gamma=2.0)"),
        ("focal(gamma=high)", "focal(gamma=2.0)"),
        ("bce|ghm(bin=3)", "ghm(bins=30, momentum=0.75)"),
        ("bce|ohm(0.5, 0.7)", "ohm(hard_ratio=0.7)"),
        ("bce|cost", "cost(file)"),
        ("bce|cost(3)", "cost(file)"),
        ("bce|class_weights(auto, alpha=3)", "class_weights(rule=auto, beta=0.999)"),
    ],
)
def test_a_wrong_spec_is_answered_with_what_to_write(spec, said):
    with pytest.raises(UserError) as caught:
        build_criterion(parse_specs(spec), classes=names(2), class_counts=[1, 2])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_and_a_weighter_of_the_user_join_in(tmp_path, batch):
    file = tmp_path / "my_loss_parts.py"
    file.write_text(
        "from criterions.elementwise import Elementwise, softmax_terms\n"
        "from criterions.weighters.weighter import Weighter\n"
        "LOSS = Elementwise('softmax', softmax_terms)\n"
        "def loss(power=1):\n    return Elementwise('softmax', lambda z, t: softmax_terms(z, t) ** power)\n"
        "class Third(Weighter):\n"
        "    def __init__(self, factor=3.0):\n        super().__init__()\n        self.factor = factor\n"
        "    def forward(self, probabilities, targets, *, hardness):\n        return hardness * 0 + self.factor\n"
        "WRONG = 3\n"
    )
    plain = float(build_criterion([Spec("softmax")])(*batch))
    assert float(build_criterion([Spec(f"{file}:LOSS")])(*batch)) == pytest.approx(plain)
    both = [Spec(f"{file}:loss", (1,)), Spec(f"{file}:Third", (), {"factor": 2.0})]
    assert float(build_criterion(both)(*batch)) == pytest.approx(plain), "a factor that all samples share changes nothing"
    with pytest.raises(UserError, match="Elementwise"):
        build_criterion([Spec(f"{file}:WRONG")])
    with pytest.raises(UserError, match="Weighter"):
        build_criterion([Spec("softmax"), Spec(f"{file}:loss")])


def test_softmax_warns_of_costs_that_it_has_no_use_for(tmp_path, caplog):
    idle = write_cost(tmp_path / "idle.csv", np.array([[1.0, 5.0], [1.0, 1.0]]))
    busy = write_cost(tmp_path / "busy.csv", np.array([[1.0, 5.0], [1.0, 2.0]]))
    with caplog.at_level(logging.WARNING, logger="darkroom"):
        for loss, file in (("bce", idle), ("softmax", busy)):
            build_criterion([Spec(loss), Spec("cost", (file,))], classes=names(2))
        assert not caplog.records
        build_criterion([Spec("softmax"), Spec("cost", (idle,))], classes=names(2))
    assert "risk(FILE)" in caplog.text


def test_index_targets_are_refused(batch):
    logits, _, weights = batch
    with pytest.raises(AssertionError, match="dense"):
        build_criterion([Spec("softmax")])(logits, torch.zeros(6, dtype=torch.long), weights)


def test_a_weighter_that_knows_nothing_of_second_looks_counts_none(batch):
    watcher = Watcher()
    criterion = Criterion(softmax(), weighters={"watcher": watcher})
    criterion(*batch)
    criterion(*batch, record=False)
    assert watcher.batches == 1
