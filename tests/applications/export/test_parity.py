"""What counts as the same answers, and where a file leaves its model."""

import numpy as np
import pytest
import torch

from applications.export.diverging import first_unmatched
from applications.export.parity import ALLOWED, Allowed, compare, count_agreeing, in_order
from applications.export.probe import Answers
from applications.formats.facts import Facts
from applications.tasks.classify import Classify
from applications.tasks.label_prediction import Prediction
from criterions.weighted import build_criterion
from dataloader.images.preprocess import Preprocess
from utils.spec import parse_specs
from utils.timing import Timing

CLASSES = ("a", "b", "c")
FACTS = Facts("net", "classify", CLASSES, Preprocess(), "softmax")


@pytest.fixture
def task() -> Classify:
    return Classify(CLASSES, build_criterion(parse_specs("softmax")), Preprocess(), torch.device("cpu"))


def answers(probabilities: torch.Tensor, *, facts: Facts = FACTS, batched: torch.Tensor | None = None) -> Answers:
    together = probabilities if batched is None else batched
    return Answers(facts, probabilities.numpy(), together.numpy(), Timing(1, 1, 1, 5, 0), 0.1)


def prediction(probabilities: torch.Tensor) -> Prediction:
    n = len(probabilities)
    return Prediction(torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n), probabilities.log(), "softmax")


def even(n: int = 15) -> torch.Tensor:
    return torch.full((n, 3), 1 / 3) + torch.tensor([1e-6, 0.0, 0.0])


def test_equal_answers_are_kept(task: Classify) -> None:
    parity = compare(answers(even()), prediction(even()), FACTS, task)
    assert parity.agreeing == 15
    assert max(parity.largest, parity.mean, parity.batched) < 1e-6
    assert parity.model == parity.file == 1
    assert parity.refusal(ALLOWED["fp32"]) == ""


def test_a_label_that_turns_is_refused_however_close_the_probabilities_are(task: Classify) -> None:
    turned = even()
    turned[4] = turned[4].flip(0)
    parity = compare(answers(turned), prediction(even()), FACTS, task)
    assert parity.largest < ALLOWED["fp32"].difference
    assert parity.refusal(ALLOWED["fp32"]) == "1 of 15 labels differ"
    assert parity.refusal(Allowed(1e-4, 0.9)) == ""


def test_a_difference_of_one_image_or_of_batches_alone_is_refused(task: Classify) -> None:
    other = even()
    other[3] += torch.tensor([2e-4, -1e-4, -1e-4])
    for given in (answers(other), answers(even(), batched=other)):
        assert "differ by up to 2.0e-04, allowed are 1e-04" in compare(given, prediction(even()), FACTS, task).refusal(ALLOWED["fp32"])
    assert compare(answers(other), prediction(even()), FACTS, task).worst == 3


def test_an_answer_that_is_no_number_is_refused(task: Classify) -> None:
    broken = even()
    broken[2, 1] = float("nan")
    parity = compare(answers(broken), prediction(even()), FACTS, task)
    assert parity.refusal(Allowed(0.99, 0.0))
    assert parity.worst == 2


def test_answers_are_compared_by_the_names_of_the_file(task: Classify) -> None:
    sure = torch.eye(3)
    swapped = Facts("net", "classify", ("b", "a", "c"), Preprocess(), "softmax")
    assert compare(answers(sure[:, [1, 0, 2]], facts=swapped), prediction(sure), FACTS, task).agreeing == 3
    assert compare(answers(sure, facts=swapped), prediction(sure), FACTS, task).agreeing == 1
    assert in_order(sure, ("a", "b", "d"), CLASSES).shape == (3, 0)


def test_a_probability_on_its_threshold_agrees_either_way() -> None:
    below, above = torch.tensor([[0.499999, 0.9]]), torch.tensor([[0.500001, 0.9]])
    assert count_agreeing(below, above, (0.5, 0.5), (0.5, 0.5)) == 1
    assert count_agreeing(below - 1e-3, above, (0.5, 0.5), (0.5, 0.5)) == 0
    assert count_agreeing(above, above, (0.6, 0.5), (0.5, 0.5)) == 0


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
