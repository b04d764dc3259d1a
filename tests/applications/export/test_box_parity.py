"""Boxes of a file agree with those of its model up to rounding, and not beyond."""

import numpy as np
import pytest

from applications.export.box_parity import compare_image
from applications.tasks.box_answers import BoxAnswer, Choice

CHOICE = Choice(0.3, 0.5, 10)
CLOSE = 1e-3


def answer(*boxes: tuple[float, float, int]) -> BoxAnswer:
    """Return boxes of 10 x 10 pixels by (left, score, class)."""
    corners = np.array([[left, 0, left + 10, 10] for left, _, _ in boxes], np.float32).reshape(-1, 4)
    return BoxAnswer(corners, np.array([each[1] for each in boxes], np.float32), np.array([each[2] for each in boxes], np.int64))


def raw_of(boxes: BoxAnswer, classes: int = 2) -> np.ndarray:
    scores = np.zeros((len(boxes.scores), classes), np.float32)
    scores[np.arange(len(scores)), boxes.classes] = boxes.scores
    return np.concatenate([boxes.corners, scores], axis=1)


OURS = answer((0, 0.9, 0), (50, 0.8, 1))


@pytest.mark.parametrize(
    ("theirs", "wrong"),
    [
        (OURS, 0),
        (answer((50, 0.8, 1), (0, 0.9, 0)), 0),
        (answer((0, 0.8995, 0), (50, 0.8, 1)), 0),
        (answer((0, 0.85, 0), (50, 0.8, 1)), 1),
        (answer((0, 0.9, 0)), 1),
        (answer((0, 0.9, 0), (50, 0.8, 0)), 2),
        (answer((0, 0.9, 0), (55, 0.8, 1)), 2),
        (answer((0, 0.9, 0), (50, 0.8, 1), (80, 0.7, 0)), 1),
    ],
)
def test_another_class_place_or_score_is_found(theirs: BoxAnswer, wrong: int) -> None:
    assert compare_image(OURS, theirs, raw_of(OURS), CHOICE, CLOSE).wrong == wrong


def test_a_box_at_the_least_score_may_be_answered_by_one_alone() -> None:
    ours = answer((0, 0.9, 0), (50, 0.3001, 1))
    assert compare_image(ours, answer((0, 0.9, 0)), raw_of(ours), CHOICE, CLOSE).wrong == 0


def test_of_two_equally_sure_boxes_either_may_drop_the_other() -> None:
    ours, theirs = answer((0, 0.9, 0)), answer((2, 0.9, 0))
    both = raw_of(answer((0, 0.9, 0), (2, 0.9, 0)))
    assert compare_image(ours, theirs, both, CHOICE, CLOSE).wrong == 0
    # The file makes up a place that the model does not say.
    assert compare_image(ours, theirs, raw_of(ours), CHOICE, CLOSE).wrong == 1


def test_no_boxes_agree() -> None:
    assert compare_image(answer(), answer(), raw_of(OURS), CHOICE, CLOSE) == (0, 0, 0.0)
