"""Thresholds keep their limit on images to come, as often as is said, and keep more answers than the plain corrections do."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from utils.metrics.risk_control import NEVER, between, count_by_threshold, fewest, images_wanted, limit_risk, most_failures, pool_small


def chance_of(kind: str, scores: np.ndarray) -> np.ndarray:
    """Return how often answers with these scores fail: rarely where they are sure, or 1% even there, or all alike."""
    calibrated = 0.3 * (1 - scores) ** 2
    return {"calibrated": calibrated, "sure mistakes": np.maximum(calibrated, 0.01), "even": np.full_like(scores, 0.04)}[kind]


def answers(rng: np.random.Generator, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and failing scores."""
    scores = rng.random(count)
    return scores, np.where(rng.random(count) < chance_of(kind, scores), scores, -1.0)


def true_risk(kind: str, threshold: float) -> float:
    return float(chance_of(kind, np.linspace(threshold, 1, 20001)).mean())


@pytest.mark.parametrize("kind", ["calibrated", "sure mistakes", "even"])
@pytest.mark.parametrize(("count", "limit"), [(100, 0.1), (300, 0.03), (300, 0.05), (1000, 0.02)])
def test_a_limit_is_broken_in_at_most_5_of_100_draws(kind: str, count: int, limit: float) -> None:
    rng, draws = np.random.default_rng(0), 500
    broken = 0
    for _ in range(draws):
        scores, failing = answers(rng, count, kind)
        kept = limit_risk(scores, failing, limit, 0.05)
        broken += kept.threshold < 1 and true_risk(kind, kept.threshold) > limit
    # So many of 500 are chance in one of a hundred cases where the true share is 5%.
    assert broken <= binom.ppf(0.99, draws, 0.05)


def test_more_answers_are_accepted_than_by_a_bound_divided_by_the_thresholds_tried() -> None:
    rng = np.random.default_rng(0)
    ours, divided, halved = [], [], []
    for kind in ("calibrated", "sure mistakes", "even"):
        for _ in range(20):
            scores, failing = answers(rng, 500, kind)
            _, counts, failures = count_by_threshold(scores, failing)
            ours.append(limit_risk(scores, failing, 0.05, 0.05).count)
            passed = counts[binom.cdf(failures, counts, 0.05) <= 0.05 / len(counts)]
            divided.append(passed.max(initial=0))
            low, high = 0, len(counts) - 1
            steps, best = int(np.ceil(np.log2(len(counts)))), 0
            for _ in range(steps):
                middle = (low + high + 1) // 2
                if binom.cdf(failures[middle], counts[middle], 0.05) <= 0.05 / steps:
                    best, low = counts[middle], middle
                else:
                    high = max(low, middle - 1)
            halved.append(best)
    assert np.mean(ours) > 1.1 * np.mean(divided)
    assert np.mean(ours) > 1.1 * np.mean(halved), "the binary search of the paper"


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    for count, limit, risk in ((59, 0.05, 0.05), (300, 0.05, 0.01), (1000, 0.1, 0.002), (40, 0.3, 0.05)):
        most = most_failures(count, limit, risk)
        assert beta.ppf(1 - risk, most + 1, count - most) <= limit < beta.ppf(1 - risk, most + 2, count - most - 1)
    assert most_failures(58, 0.05, 0.05) == -1
    assert [fewest(0.05, 0.05), fewest(0.01, 0.05)] == [59, 299], "the rule of three"
    for failures in (0, 2, 30):
        first = fewest(0.05, 0.01, failures)
        assert most_failures(first, 0.05, 0.01) == failures > most_failures(first - 1, 0.05, 0.01)
    assert most_failures(0, 0.5, 0.05) == most_failures(50, 0.0, 0.05) == -1


def test_equal_scores_are_accepted_together_or_not_at_all() -> None:
    scores = np.array([0.9] * 60 + [0.5] * 60)
    failing = np.where(np.arange(120) % 60 < 20, scores, -1.0)
    failing[:60] = -1.0
    kept = limit_risk(scores, failing, 0.05, 0.05)
    assert (kept.count, kept.failures) == (60, 0)
    assert 0.5 < kept.threshold <= 0.9
    assert limit_risk(scores[:58], failing[:58], 0.05, 0.05).threshold == NEVER
    assert limit_risk(scores[:60], failing[:60], 0.05, 0.05).threshold == 0.0, "all are accepted"


def test_the_images_that_would_do_are_about_enough() -> None:
    rng = np.random.default_rng(3)
    scores, failing = answers(rng, 60, "calibrated")
    assert limit_risk(scores, failing, 0.05, 0.05).threshold == NEVER
    times = images_wanted(scores, failing, 0.05, 0.05)
    found = [limit_risk(*answers(rng, round(60 * times), "calibrated"), 0.05, 0.05).threshold < NEVER for _ in range(50)]
    assert 1 < times < 20
    assert np.mean(found) > 0.5
    assert images_wanted(np.ones(9), np.ones(9), 0.05, 0.05) == float("inf"), "every answer is wrong"


def test_large_classes_stand_alone_and_small_ones_together() -> None:
    def needed(groups: int) -> int:
        return fewest(0.05, 0.05 / groups)

    for sizes, groups in (
        ([1000, 10, 240, 40, 25], [[0], [1, 2, 3, 4]]),
        ([1000, 100, 900, 40, 25], [[0], [2], [1, 3, 4]]),
        ([1000, 900], [[0], [1]]),
        ([1000, 0, 900], [[0], [1, 2]]),
        ([1000, 10, 25], [[0, 1, 2]]),
        ([5, 3], [[0, 1]]),
    ):
        assert [each.tolist() for each in pool_small(np.array(sizes), needed)] == groups


def test_a_threshold_lies_between_its_neighbors() -> None:
    assert between(0.5, 0.6) == pytest.approx(0.55)
    low = float(np.float32(0.5))
    assert low < between(low, float(np.nextafter(np.float32(0.5), np.float32(1)))) <= np.nextafter(np.float32(0.5), np.float32(1))


def test_all_starts_together_take_no_more_than_the_risk() -> None:
    # Everywhere a little above the limit, whatever the score: each start is a chance of its own to accept what breaks the promise.
    draws, count, limit = 400, 4000, 0.05
    broken = 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        scores = rng.random(count)
        failing = np.where(rng.random(count) < 1.001 * limit, scores, -1.0)
        broken += limit_risk(scores, failing, limit, 0.05).count > 0
    assert broken / draws <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5
