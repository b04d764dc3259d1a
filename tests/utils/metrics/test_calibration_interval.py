"""The interval of a calibration error covers the error of endless answers, where a bootstrap of the error itself does not."""

import numpy as np
import pytest

from utils.metrics.calibration import BINS, bin_of, measure_reliability
from utils.metrics.calibration_interval import calibration_error_interval

DRAWS = 40


def answers(rng: np.random.Generator, count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, and the chance that each is right: its log odds times `sharpness`."""
    odds = rng.normal(0.5, 2, count)
    return 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-sharpness * odds))


def endless_error(sharpness: float) -> float:
    probabilities, chances = answers(np.random.default_rng(9), 400_000, sharpness)
    return float(np.abs(np.bincount(bin_of(probabilities), probabilities - chances, BINS)).sum() / len(chances))


@pytest.mark.parametrize("sharpness", [1.0, 0.85, 0.5])
@pytest.mark.parametrize("count", [50, 500])
def test_it_covers_the_error_of_endless_answers(sharpness: float, count: int) -> None:
    rng, true, covered = np.random.default_rng(count), 0.0 if sharpness == 1 else endless_error(sharpness), 0
    for seed in range(DRAWS):
        probabilities, chances = answers(rng, count, sharpness)
        found = calibration_error_interval(probabilities, rng.random(count) < chances, seed=seed)
        covered += found.low <= true <= found.high
    # Of a true 95%, 35 or more of 40 hold in 99 of 100 cases.
    assert covered >= 35


def test_percentiles_of_the_error_would_not_cover_that_of_calibrated_answers() -> None:
    rng, count, held = np.random.default_rng(1), 200, 0
    for _ in range(10):
        probabilities, chances = answers(rng, count, 1.0)
        gaps, bins = probabilities - (rng.random(count) < chances), bin_of(probabilities)
        rows = (rng.integers(0, count, count) for _ in range(200))
        drawn = [np.abs(np.bincount(bins[row], gaps[row], BINS)).sum() / count for row in rows]
        held += np.quantile(drawn, 0.025) <= 0.02
    assert held == 0


def test_it_holds_the_error_and_tells_errors_from_chance() -> None:
    rng = np.random.default_rng(2)
    for sharpness, known in ((1.0, False), (0.4, True)):
        probabilities, chances = answers(rng, 300, sharpness)
        right = rng.random(300) < chances
        found = calibration_error_interval(probabilities, right)
        assert found.value == pytest.approx(measure_reliability(probabilities, right).error)
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert (found.low > 0.05) is known
        assert found == calibration_error_interval(probabilities, right), "the same draws"
        assert found != calibration_error_interval(probabilities, right, seed=1)


def test_answers_of_one_image_count_together_however_many_there_are() -> None:
    rng = np.random.default_rng(3)
    probabilities, chances = answers(rng, 60, 0.5)
    right = rng.random(60) < chances
    one = calibration_error_interval(probabilities, right, np.arange(60))
    many = calibration_error_interval(*(np.repeat(each, 20) for each in (probabilities, right, np.arange(60))))
    alone = calibration_error_interval(np.repeat(probabilities, 20), np.repeat(right, 20))
    assert (many.value, many.low, many.high) == pytest.approx((one.value, one.low, one.high))
    assert alone.high - alone.low < 0.7 * (one.high - one.low)


def test_units_without_answers_are_drawn_too_and_of_nothing_nothing_is_known() -> None:
    rng = np.random.default_rng(4)
    probabilities, chances = answers(rng, 600, 0.3)
    found = calibration_error_interval(probabilities, rng.random(600) < chances, np.arange(600), count=2000)
    assert 0 < found.low < found.high
    nothing = calibration_error_interval(np.empty(0), np.empty(0, bool), np.empty(0, np.int64), count=5)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 1)


def test_answers_that_are_all_right_may_be_wrong_another_time() -> None:
    few, many = (calibration_error_interval(np.full(count, 0.99), np.ones(count, bool)) for count in (30, 3000))
    assert [few.value, many.value] == pytest.approx([0.01, 0.01])
    assert few.low == 0
    assert few.high > 0.05
    assert many.high < 0.015
