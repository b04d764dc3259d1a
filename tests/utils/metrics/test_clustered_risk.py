"""A share of objects is proven by images, however the objects of one depend on one another."""

import numpy as np
import pytest

from utils.metrics.clustered_risk import evidence, proves, weights_of
from utils.metrics.risk_control import fewest


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("objects", [1, 12])
def test_without_failures_as_many_images_are_needed_as_by_the_exact_bound(limit: float, objects: int) -> None:
    needed = fewest(limit, 0.05)
    for count, said in ((needed - 1, False), (needed, True)):
        assert proves(np.zeros(count), np.full(count, objects), limit, 0.05) is said


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("images", [100, 400])
def test_a_share_at_the_limit_is_rarely_proven(images: int, together: bool) -> None:
    rng, limit, wrong = np.random.default_rng(images), 0.1, 0
    for _ in range(300):
        counts = rng.geometric(0.3, images)
        failures = counts * (rng.random(images) < limit) if together else rng.binomial(counts, limit)
        wrong += proves(failures, counts, limit, 0.05)
    assert wrong <= 0.05 * 300


def test_objects_that_fail_alone_are_proven_by_fewer_images_than_those_that_fail_together() -> None:
    counts = np.full(150, 10)
    apart, together = np.full(150, 0), np.zeros(150)
    apart[:75], together[:8] = 1, 10
    assert evidence(apart, counts, 0.15, 0.05) > evidence(together, counts, 0.15, 0.05)


def test_evidence_falls_with_every_failure() -> None:
    counts = np.array([1, 3, 9, 2, 40])
    for image in range(5):
        failures = np.zeros(5)
        before = evidence(failures, counts, 0.3, 0.05)
        failures[image] = 1
        assert evidence(failures, counts, 0.3, 0.05) < before


def test_a_crowd_counts_for_four_mean_images_at_most() -> None:
    weights = weights_of(np.array([1] * 99 + [500]))
    assert weights.max() == 1
    assert weights[0] == pytest.approx(1 / (4 * 5.99))
