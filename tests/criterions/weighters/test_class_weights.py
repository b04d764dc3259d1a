"""Claims about class weights."""

import pytest
import torch
import torch.nn.functional as F

from criterions import CRITERIONS
from criterions.weighted import build_criterion
from criterions.weighters.class_weights import balanced_targets, label_weights
from tests.criterions.conftest import draw, names
from utils.spec import Spec, parse_specs


def test_a_sample_weighs_what_its_class_weighs():
    weights = torch.tensor([1.0, 3.0, 5.0])
    targets = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert label_weights(targets, weights).flatten().tolist() == [3.0, 3.0, 2.0, 1.0]


def test_softmax_with_class_weights_is_that_of_torch():
    logits, _ = draw((6, 3), 0)
    labels = torch.tensor([0, 0, 1, 2, 0, 1])
    counts = [3, 2, 1]
    criterion = build_criterion([Spec("softmax"), Spec("class_weights")], classes=names(3), class_counts=counts)
    theirs = F.cross_entropy(logits, labels, weight=1 / torch.tensor(counts, dtype=torch.float64))
    found = criterion(logits, F.one_hot(labels, 3).double(), torch.ones(6, dtype=torch.float64))
    assert float(found) == pytest.approx(float(theirs), rel=1e-6)


def test_every_label_of_a_mixed_image_has_its_own_weight_as_in_torch():
    weights = torch.tensor([0.5, 2.0, 5.0], dtype=torch.float64)
    counts = 1 / weights
    logits, targets = draw((8, 3), 0)
    criterion = build_criterion(parse_specs("softmax|class_weights"), classes=names(3), class_counts=(1000 * counts).tolist())
    theirs = F.cross_entropy(logits, targets, weight=weights / (weights @ counts) * counts.sum())
    assert float(criterion(logits, targets, torch.ones(8, dtype=torch.float64))) == pytest.approx(float(theirs), rel=1e-6)


# The terms of the others are linear in the targets, and those of asymmetric_single are not, with and without weights.
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(set(CRITERIONS) - {"asymmetric_single"}))
def test_a_mixed_image_teaches_what_its_two_images_teach(name, smoothing):
    built = parse_specs(f"{name}|class_weights")
    criterion = build_criterion(built, classes=names(4), class_counts=[90, 6, 3, 1], label_smoothing=smoothing).eval()
    one, other = (F.one_hot(torch.tensor(labels), 4).double() for labels in ([0, 0, 2, 3], [0, 3, 1, 0]))
    share = torch.tensor([[0.3], [0.9], [0.5], [0.01]], dtype=torch.float64)
    logits = draw((4, 4), 1)[0].requires_grad_()

    def gradient(targets, weights):
        return torch.autograd.grad(criterion(logits, targets, weights.flatten()), logits)[0]

    apart = gradient(one, share) + gradient(other, 1 - share)
    torch.testing.assert_close(gradient(share * one + (1 - share) * other, torch.ones(4, dtype=torch.float64)), apart)


@pytest.mark.parametrize("name", CRITERIONS)
def test_mixing_leaves_the_balance_of_the_classes(name):
    """All pairs of ten images, nine of a common class: no answer is pulled to it."""
    labels = torch.tensor([0] * 9 + [1])
    first, second = (F.one_hot(each.flatten(), 2).double() for each in torch.meshgrid(labels, labels, indexing="ij"))
    criterion = build_criterion(parse_specs(f"{name}|class_weights"), classes=names(2), class_counts=[9, 1], label_smoothing=0.1)
    answer = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    criterion(answer.expand(100, 2), 0.6 * first + 0.4 * second, torch.ones(100, dtype=torch.float64)).backward()
    apart = float(answer.grad[0] - answer.grad[1])
    assert abs(apart) < (0.05 if name == "asymmetric_single" else 1e-6), "each class is pulled at as the other is"


def test_targets_that_share_nothing_stay_as_they_are():
    weights = torch.tensor([0.1, 0.7, 0.0])
    assert torch.equal(balanced_targets(torch.eye(3), weights), torch.eye(3))
    assert balanced_targets(torch.tensor([[0.5, 0.5, 0.0]]), weights).flatten().tolist() == pytest.approx([0.125, 0.875, 0.0])


def test_the_weighted_divergence_is_nothing_at_its_goal():
    criterion = build_criterion(parse_specs("kl|class_weights"), classes=names(2), class_counts=[9, 1])
    targets = torch.tensor([[0.4, 0.6]])
    goal = targets * criterion.weighters["class_weights"].weights
    assert float(criterion(goal.log(), targets, torch.ones(1))) == pytest.approx(0, abs=1e-6)
    assert float(criterion(targets.log(), targets, torch.ones(1))) > 0.1


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_leaves_the_balance_of_the_classes(smoothing):
    counts = [990, 9, 1]
    targets = torch.eye(3).repeat_interleave(torch.tensor(counts), 0)
    criterion = build_criterion(parse_specs("softmax|class_weights"), classes=names(3), class_counts=counts, label_smoothing=smoothing)
    logits = torch.zeros(1000, 3)
    losses = []
    for label in range(3):
        chosen = (targets[:, label] == 1).float()
        losses.append(float(criterion.eval()(logits, targets, chosen)))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5), "every class carries the same loss in all"


def test_a_file_and_the_effective_number_are_read_from_the_spec(tmp_path):
    (tmp_path / "weights.csv").write_text("class,weight\nclass 0,1\nclass 1,0.25\n")
    held = {}
    for spec in (Spec("class_weights", (str(tmp_path / "weights.csv"),)), Spec("class_weights", ("effective",), {"beta": 0.0})):
        criterion = build_criterion([Spec("bce"), spec], classes=names(2), class_counts=[9, 1])
        held[str(spec)] = criterion.weighters["class_weights"].weights.tolist()
    assert list(held.values()) == [pytest.approx([1 / 0.925, 0.25 / 0.925]), [1.0, 1.0]], "of mean 1 over the images"
