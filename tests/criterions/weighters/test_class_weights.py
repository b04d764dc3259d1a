"""Claims about class weights."""

import pytest
import torch
import torch.nn.functional as F

from criterions.weighted import build_criterion
from criterions.weighters.class_weights import label_weights
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
