"""What counts as the same answers, and where a file leaves its model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.export.answers import Answers
from applications.export.diverging import first_unmatched
from applications.export.label_reference import ALLOWED, LabelReference, agree
from applications.export.parity import ALLOWED_INT8, Allowed, Parity, in_order
from applications.formats.facts import Facts
from applications.tasks.classify import Classify
from criterions.weighted import build_criterion
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from utils.spec import parse_specs
from utils.timing import Timing

CLASSES = ("a", "b", "c")
FACTS = Facts("net", "classify", CLASSES, Preprocess(), "softmax")
EXACT = ALLOWED["fp32"]


def answers(probabilities: np.ndarray, *, facts: Facts = FACTS, batched: np.ndarray | None = None) -> Answers:
    return Answers(facts, probabilities, probabilities if batched is None else batched, Timing(1, 1, 1, 5, 0), 0.1)


def compared(told: Answers, expected: np.ndarray, allowed: Allowed = EXACT) -> Parity:
    """Return the parity of images of class a."""
    task = Classify(CLASSES, build_criterion(parse_specs("softmax")), Preprocess(), torch.device("cpu"))
    split = Split("val", Path(), tuple(map(str, range(len(expected)))), np.zeros(len(expected), np.int64))
    return LabelReference(task, split).compare(expected, told, FACTS, allowed)


def even(n: int = 15) -> np.ndarray:
    return np.full((n, 3), 1 / 3, np.float32) + np.array([1e-6, 0.0, 0.0], np.float32)


def test_equal_answers_are_kept() -> None:
    parity = compared(answers(even()), even())
    assert (parity.agreeing, parity.answers) == (15, 15)
    assert max(parity.largest, parity.mean, parity.batched) < 1e-6
    assert parity.model == parity.file == 1
    assert [each.name for each in parity.classes] == ["a"]
    assert parity.refusal(EXACT) == ""


def test_a_label_that_turns_is_refused_however_close_the_probabilities_are() -> None:
    turned = even()
    turned[4] = turned[4, ::-1]
    parity = compared(answers(turned), even())
    assert parity.largest < EXACT.difference
    assert parity.refusal(EXACT) == "1 of 15 labels differ"
    assert parity.refusal(Allowed(1e-4, 0.9)) == ""


def test_a_difference_of_one_image_or_of_batches_alone_is_refused() -> None:
    other = even()
    other[3] += np.array([2e-4, -1e-4, -1e-4], np.float32)
    for given in (answers(other), answers(even(), batched=other)):
        assert "differs by up to 2.0e-04, allowed are 1e-04" in compared(given, even()).refusal(EXACT)
    assert compared(answers(other), even()).worst == 3


@pytest.mark.parametrize("precision", ["half", "int8"])
def test_labels_that_turn_in_batches_alone_are_refused(precision: str) -> None:
    near = np.full((15, 3), [0.34, 0.335, 0.325], np.float32)
    turned = near[:, [1, 0, 2]]
    allowed = ALLOWED[precision]
    for given in (answers(turned), answers(near, batched=turned)):
        assert compared(given, near, allowed).refusal(allowed)
    assert not compared(answers(near), near, allowed).refusal(allowed)


def test_an_answer_that_is_no_number_is_refused() -> None:
    broken = even()
    broken[2, 1] = float("nan")
    parity = compared(answers(broken), even())
    assert parity.refusal(Allowed(0.99, 0.0)) == "a probability is no number, or the answers have other classes or another shape"
    assert parity.worst == 2
    assert compared(answers(even(), batched=broken), even()).refusal(Allowed(0.99, 0.0)), "the same in batches alone"


def test_a_figure_that_is_no_number_is_refused_in_words() -> None:
    parity = replace(compared(answers(even()), even()), model=float("nan"))
    assert parity.refusal(ALLOWED_INT8) == "top1 of these images is no number, so what is lost is unknown; compare on others with --split"
    assert parity.refusal(EXACT) == "", "where the figure is not asked for"


def test_answers_are_compared_by_the_names_of_the_file() -> None:
    sure = np.eye(3, dtype=np.float32)
    swapped = Facts("net", "classify", ("b", "a", "c"), Preprocess(), "softmax")
    assert compared(answers(sure[:, [1, 0, 2]], facts=swapped), sure).agreeing == 3
    assert compared(answers(sure, facts=swapped), sure).agreeing == 1
    assert in_order(sure, ("a", "b", "d"), CLASSES).shape == (3, 0)


def test_a_probability_on_its_threshold_agrees_either_way() -> None:
    below, above = torch.tensor([[0.499999, 0.9]]), torch.tensor([[0.500001, 0.9]])
    assert int(agree(below, above, (0.5, 0.5), (0.5, 0.5)).sum()) == 1
    assert int(agree(below - 1e-3, above, (0.5, 0.5), (0.5, 0.5)).sum()) == 0
    assert int(agree(above, above, (0.6, 0.5), (0.5, 0.5)).sum()) == 0


def test_the_first_layer_behind_the_last_equal_one_is_named() -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, 4, 3)).astype(np.float32) for _ in range(4)]
    stages = list(zip(("conv", "norm", "act", "head"), values, strict=True))
    assert first_unmatched(stages, values, 1e-3) is None
    # A convolution that was folded into its norm is no difference.
    assert first_unmatched(stages, values[1:], 1e-3) is None
    assert first_unmatched(stages, [*values[:2], values[2] + 1, values[3] + 1], 1e-3) == "act"
    assert first_unmatched(stages, [value + 1 for value in values], 1e-3) == "conv"
    flipped = [values[0][:, ::-1], *values[1:]]
    assert first_unmatched(stages[:1], flipped[:1], 1e-3) == "conv", "the same numbers in another order"


def test_layers_that_are_the_same_everywhere_tell_nothing() -> None:
    zeros = np.zeros((1, 6), dtype=np.float32)
    ramp = np.arange(6, dtype=np.float32)[None]
    assert first_unmatched([("first", ramp), ("dead", zeros)], [ramp + 1, zeros], 1e-3) == "first"
