"""D-ECE: against a few lines of numpy, near nothing for calibrated scores, with an interval that allows for the boxes of an image."""

from itertools import pairwise

import numpy as np
import pytest

from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes, match_boxes
from utils.metrics.box_reliability import BoxReliability, box_reliability, fit_score_temperature


def drawn(rng: np.random.Generator, images: int, *, spread: float = 0.0, shift: float = 0.0) -> BoxReliability:
    """Return answers of images, some 8 each, whose scores are the chances of being right, on the scale of log odds but for `shift`.

    `spread`: how much images differ in a way that scores do not show.
    """
    number = np.repeat(np.arange(images), rng.poisson(8, images))
    odds = rng.normal(0.5, 1.2, len(number))
    # A mean over a normal spread of logistic chances: MacKay's approximation gives the score that is calibrated.
    scores = 1 / (1 + np.exp(-(odds + shift) / np.sqrt(1 + np.pi * spread**2 / 8)))
    chances = 1 / (1 + np.exp(-(odds + rng.normal(0, spread, images)[number])))
    return BoxReliability(scores, rng.random(len(number)) < chances, number)


def test_the_error_is_that_of_a_few_lines_over_answers_that_reach_the_least_score() -> None:
    rng = np.random.default_rng(0)
    count = 300
    # Objects lie side by side; every second answer frames one, the others lie beyond all.
    left = 100.0 * np.arange(count)
    corners = np.stack([left, 0 * left, left + 50, 0 * left + 50], 1)
    classes, crowd = rng.integers(0, 3, count), np.arange(count) < 20
    truths = TrueBoxes(np.zeros(count, np.int64), classes, corners, crowd, np.full(count, 2500.0))
    hit = rng.random(count) < 0.5
    said = np.where(hit[:, None], corners, corners + np.array([0, 1000, 0, 1000]))
    scores = rng.random(count).astype(np.float32)
    matches = match_boxes(truths, AnsweredBoxes(np.zeros(count, np.int64), classes, said, scores), most=count)
    found = box_reliability(matches, 0.3).bins().error
    kept = (scores >= np.float32(0.3)) & ~(hit & crowd)
    edges, total = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        own = kept & (scores > low) & (scores <= high)
        if own.any():
            total += own.sum() / kept.sum() * abs(hit[own].mean() - scores[own].astype(float).mean())
    assert found == pytest.approx(total, abs=1e-12)


def test_calibrated_scores_have_next_to_no_error_and_shifted_ones_have_theirs() -> None:
    rng = np.random.default_rng(1)
    assert drawn(rng, 20_000).bins().error < 0.01
    assert drawn(rng, 20_000, spread=1.0).bins().error < 0.02
    assert drawn(rng, 20_000, shift=1.0).bins().error == pytest.approx(0.173, abs=0.01)


def test_the_interval_reaches_zero_for_calibrated_scores_and_not_for_others() -> None:
    rng, lows, shifted = np.random.default_rng(2), [], []
    for seed in range(40):
        lows.append(drawn(rng, 60, spread=1.0).interval(60, seed=seed).low)
        shifted.append(drawn(rng, 60, spread=1.0, shift=1.5).interval(60, seed=seed).low)
    assert np.mean(np.array(lows) < 0.03) >= 0.9
    assert np.mean(np.array(shifted) > 0.03) >= 0.9


def test_the_interval_is_over_images_however_many_boxes_each_has() -> None:
    rng = np.random.default_rng(4)
    few = drawn(rng, 40, shift=1.0)
    many = BoxReliability(*(np.repeat(each, 30) for each in (few.scores, few.right, few.images)))
    one, other = few.interval(40), many.interval(40)
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_interval_of_calibrated_scores_nearly_always_begins_at_zero(spread: float) -> None:
    rng = np.random.default_rng(4)
    lows = [drawn(rng, 60, spread=spread).interval(60, seed=seed).low for seed in range(40)]
    assert np.mean(np.array(lows) == 0) >= 0.85


def test_no_answers_have_no_error() -> None:
    nothing = BoxReliability(np.empty(0), np.empty(0, bool), np.empty(0, np.int64))
    assert nothing.bins().error == 0
    assert nothing.interval(5).value == 0


def test_the_temperature_of_sharpened_scores_is_found() -> None:
    found = drawn(np.random.default_rng(3), 4_000)
    sharp = 1 / (1 + (1 / found.scores - 1) ** 2)
    assert fit_score_temperature(BoxReliability(sharp, found.right, found.images)) == pytest.approx(2.0, rel=0.05)
    assert fit_score_temperature(BoxReliability(np.empty(0), np.empty(0, bool), np.empty(0, np.int64))) == 1
