"""Intervals cover what they say, and tests are their formulas."""

from math import comb

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from utils.statistics import bootstrap, falling, holm, mcnemar, weighted_average_precision, wilson


def test_bootstrap_intervals_cover_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        hits = rng.random(150) < 0.8
        found = bootstrap(lambda counts, hits=hits: {"top1": counts @ hits / 150}, 150, seed=seed, resamples=200)["top1"]
        covered += found.low <= 0.8 <= found.high
    assert 0.89 < covered / 200 < 0.99


def test_the_same_seed_gives_the_same_interval_and_the_figure_of_all_images() -> None:
    values = np.random.default_rng(1).random(30)

    def figures(counts: np.ndarray) -> dict[str, float]:
        return {"mean": float(counts @ values / counts.sum())}

    first, second, other = (bootstrap(figures, 30, seed=seed)["mean"] for seed in (0, 0, 1))
    assert first == second != other
    assert first.value == pytest.approx(values.mean())
    assert first.low < first.value < first.high


def test_a_share_that_no_draw_moves_has_the_limits_of_wilson() -> None:
    for right in (np.zeros(40), np.ones(40)):

        def figures(counts: np.ndarray, right: np.ndarray = right) -> dict[str, float]:
            return {"top1": counts @ right / 40, "loss": counts @ right / 40}

        found = bootstrap(figures, 40, shares=("top1",), resamples=20)
        expected = wilson(int(right.sum()), 40)
        assert (found["top1"].value, found["top1"].low, found["top1"].high) == (right[0], expected.low, expected.high)
        assert expected.high - expected.low > 0.05
        assert (found["loss"].low, found["loss"].high) == (right[0], right[0])


def test_the_interval_of_what_chance_raises_holds_the_value_and_the_truth() -> None:
    covered = {"plain": 0, "raised": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.5, 1, 200)
        # Every answer is right 0.1 less often than it says.
        gaps, bins = confidence - (rng.random(200) < confidence - 0.1), (confidence * 15).astype(int)

        def error(counts: np.ndarray, gaps: np.ndarray = gaps, bins: np.ndarray = bins) -> dict[str, float]:
            value = float(np.abs(np.bincount(bins, weights=counts * gaps)).sum() / 200)
            return {"raised": value, "plain": value}

        found = bootstrap(error, 200, seed=seed, resamples=200, raised=("raised",))
        value, plain = found["plain"].value, found["plain"]
        assert found["raised"].low == min(value, max(0, 2 * value - plain.high))
        assert found["raised"].high == max(value, 2 * value - plain.low)
        for name, each in found.items():
            covered[name] += each.low <= 0.1 <= each.high
    assert covered["raised"] > max(85, covered["plain"])


def test_wilson_intervals_cover_the_truth_exactly_computed() -> None:
    count, share = 25, 0.9
    chance = [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    inside = sum(p for k, p in enumerate(chance) if wilson(k, count).low <= share <= wilson(k, count).high)
    assert 0.92 < inside < 0.99
    assert (wilson(0, 0).low, wilson(0, 0).high, wilson(9, 9).high) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 9), (12, 1), (5, 5)])
def test_mcnemar_is_the_sign_test_of_the_images_that_differ(first: int, second: int) -> None:
    total = first + second
    tail = sum(comb(total, k) for k in range(min(first, second) + 1)) / 2**total
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_holm_multiplies_the_smallest_most_and_never_reverses_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_average_precision_of_counted_images_is_that_of_repeated_ones() -> None:
    rng = np.random.default_rng(2)
    # Rounded, so that images are tied: those count together.
    truth, scores = rng.random((40, 3)) < 0.3, rng.random((40, 3)).round(1)
    counts = rng.integers(0, 3, 40)
    order, last = falling(scores)
    expected = [average_precision_score(np.repeat(truth[:, c], counts), np.repeat(scores[:, c], counts)) for c in range(3)]
    assert weighted_average_precision(order, last, truth, counts) == pytest.approx(expected)
