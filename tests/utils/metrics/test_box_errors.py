"""Kinds of wrong answers, one of each by hand; what each costs; what is taken for what; least scores."""

import numpy as np
import pytest

from tests.utils.random_boxes import random_boxes
from utils.metrics.box_confusion import confusion_of
from utils.metrics.box_curves import box_curves, class_figures
from utils.metrics.box_errors import KINDS, MEANINGS, costs, find_errors
from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes, match_boxes

FRAME, OTHER = [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]


def scene(truths: list[tuple[int, list[float]]], answers: list[tuple[int, list[float], float]]) -> tuple[TrueBoxes, AnsweredBoxes]:
    """Return one image: (class, corners) of its objects, (class, corners, score) of its answers."""
    classes, corners = np.array([each[0] for each in truths], np.int64), np.array([each[1] for each in truths]).reshape(-1, 4)
    true = TrueBoxes(np.zeros(len(truths), np.int64), classes, corners, np.zeros(len(truths), bool), np.full(len(truths), 100.0))
    named, boxes = np.array([each[0] for each in answers], np.int64), np.array([each[1] for each in answers]).reshape(-1, 4)
    return true, AnsweredBoxes(np.zeros(len(answers), np.int64), named, boxes, np.array([each[2] for each in answers]))


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("Cls", (1, FRAME, 0.9)),
        ("Loc", (0, [0.0, 0.0, 10.0, 3.0], 0.9)),
        ("Both", (1, [0.0, 0.0, 10.0, 3.0], 0.9)),
        ("Bkg", (0, [50.0, 50.0, 60.0, 60.0], 0.9)),
        ("Bkg", (1, [0.0, 0.0, 10.0, 0.9], 0.9)),
    ],
)
def test_each_kind_is_told_by_place_and_class(kind: str, answer: tuple[int, list[float], float]) -> None:
    errors = find_errors(*scene([(0, FRAME)], [answer]))
    assert [KINDS[number] for number in errors.kinds] == [kind]
    # An object that a loose box or one of another class means is not missed as well.
    assert errors.counts()["Miss"] == (0 if kind in ("Cls", "Loc") else 1)


def test_a_second_answer_to_an_object_is_a_duplicate() -> None:
    errors = find_errors(*scene([(0, FRAME)], [(0, FRAME, 0.9), (0, [0.0, 0.0, 10.0, 9.0], 0.8)]))
    assert errors.counts() == {"Cls": 0, "Loc": 0, "Both": 0, "Dupe": 1, "Bkg": 0, "Miss": 0}


@pytest.mark.parametrize(
    ("kind", "truths", "answers", "rise"),
    [
        # A false alarm that is surer than the right answer halves the precision.
        ("Bkg", [(0, FRAME)], [(0, [50.0, 50.0, 60.0, 60.0], 0.9), (0, FRAME, 0.8)], 0.5),
        ("Cls", [(0, FRAME), (1, OTHER)], [(1, FRAME, 0.9), (1, OTHER, 0.8)], 0.75),
        ("Loc", [(0, FRAME)], [(0, [0.0, 0.0, 10.0, 3.0], 0.9)], 1.0),
        (
            "Dupe",
            [(0, FRAME), (0, OTHER)],
            [(0, FRAME, 0.9), (0, FRAME, 0.8), (0, OTHER, 0.7)],
            1 / 6,
        ),
    ],
)
def test_a_kind_costs_what_mending_it_brings(kind: str, truths: list, answers: list, rise: float) -> None:
    found = costs(find_errors(*scene(truths, answers)), 2)
    assert found[kind] == pytest.approx(rise, abs=0.01)
    assert all(value == pytest.approx(0, abs=1e-9) for name, value in found.items() if name != kind)


def test_missed_objects_cost_their_recall() -> None:
    assert costs(find_errors(*scene([(0, FRAME), (0, OTHER)], [(0, FRAME, 0.9)])), 1)["Miss"] == pytest.approx(0.5, abs=0.01)


def test_mending_never_costs_and_nothing_costs_nothing() -> None:
    for seed in range(4):
        truths, answers = random_boxes(seed, images=20, classes=4, most=30, whole=seed % 2 == 0)
        assert min(costs(find_errors(truths, answers), 4).values()) >= -1e-9
    assert costs(find_errors(*scene([], [])), 3) == dict.fromkeys(MEANINGS, 0.0)


def test_the_confusion_has_every_object_and_every_answer_once() -> None:
    truths, answers = random_boxes(1, images=20, classes=4, most=30, whole=False)
    errors = find_errors(truths, answers)
    matrix, counted = confusion_of(errors, 4), ~errors.matches.ignored[0, 0]
    assert matrix[:4].sum(1).tolist() == np.bincount(truths.classes[~truths.crowd], minlength=4).tolist()
    assert matrix[:, :4].sum(0).tolist() == np.bincount(errors.matches.answers.classes[counted], minlength=4).tolist()
    assert np.diag(matrix)[:4].sum() == errors.matches.hits[0, 0].sum()


def test_another_class_at_the_place_of_an_object_is_a_confusion_and_no_miss() -> None:
    matrix = confusion_of(find_errors(*scene([(0, FRAME)], [(1, FRAME, 0.9)])), 2)
    assert matrix.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.55, 1.0])
def test_figures_at_a_least_score_are_those_of_the_answers_that_reach_it(confidence: float) -> None:
    truths, answers = random_boxes(2, images=20, classes=3, most=30, whole=True)
    whole = class_figures(match_boxes(truths, answers), 3, confidence)
    alone = class_figures(match_boxes(truths, answers.rows(answers.scores >= confidence)), 3, 0.0)
    assert whole.found.tolist() == alone.found.tolist()
    assert whole.said.tolist() == alone.said.tolist()


def test_the_chosen_score_has_the_best_mean_f1() -> None:
    truths, answers = random_boxes(2, images=20, classes=3, most=30, whole=False)
    matches = match_boxes(truths, answers)
    best = box_curves(matches, 3).best()
    means = {}
    for confidence in (best, *np.linspace(0, 1, 51)):
        at = class_figures(matches, 3, float(confidence))
        means[float(confidence)] = at.f1[at.real > 0].mean()
    assert means[best] == max(means.values())
