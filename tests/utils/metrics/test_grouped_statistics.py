"""Images of one group are no separate evidence: intervals, means and tests count groups."""

from itertools import product

import numpy as np
import pytest

from utils.metrics.calibration import chance_error, cross_fitted, fold_of, measure_reliability
from utils.metrics.grouped_statistics import (
    cluster_mean,
    cluster_share,
    effective_sample_size,
    flip_test,
    fully_dependent,
    number_groups,
    one_of_each,
)
from utils.metrics.statistics import Interval, bootstrap, macro_f1, mcnemar, studentized_mean, wilson


def test_an_image_without_a_name_is_a_group_of_its_own() -> None:
    found = number_groups(["cup", "", "cup", "jar", ""])
    assert found is not None
    assert found.tolist() == [0, 1, 0, 2, 3]
    assert number_groups([]) is None
    assert number_groups(["cup", "", "jar", ""]) is None, "groups of one image change nothing"


def test_one_image_of_each_group_is_taken_and_not_always_the_first() -> None:
    groups = np.repeat(np.arange(100), 5)
    rows = one_of_each(groups)
    assert groups[rows].tolist() == list(range(100))
    assert (rows == one_of_each(groups)).all()
    assert np.bincount(rows % 5).min() > 8


def test_the_effective_number_is_that_of_groups_where_these_are_alike_and_that_of_images_where_not() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), 5)
    alike, apart = (rng.random(400) < 0.8)[groups], rng.random(2000) < 0.8
    assert effective_sample_size(alike, groups) == pytest.approx(400, rel=0.02)
    assert effective_sample_size(apart, groups) == pytest.approx(2000, rel=0.15)
    assert fully_dependent(groups) == pytest.approx(400)
    assert cluster_share(np.ones(2000, dtype=bool), groups).low == pytest.approx(wilson(400, 400).low)
    assert cluster_share(apart) == wilson(int(apart.sum()), 2000)
    assert cluster_share(apart, np.arange(2000)).low == wilson(int(apart.sum()), 2000).low
    assert cluster_share(np.zeros(0, dtype=bool), np.zeros(0, dtype=int)).high == 1.0


def covered(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("alike", [True, False])
def test_intervals_over_groups_cover_the_truth_whether_or_not_images_of_a_group_are_alike(alike: bool) -> None:
    rng, draws, groups = np.random.default_rng(1), 60, np.repeat(np.arange(60), 5)
    found, plain = dict.fromkeys(("share", "mean", "macro F1", "bootstrap"), 0), 0
    for seed in range(draws):
        draw = np.arange(60)[groups] if alike else np.arange(300)
        truth, right = rng.integers(0, 3, 300)[draw], (rng.random(300) < 0.8)[draw]
        named = np.where(right, truth, (truth + rng.integers(1, 3, 300)[draw]) % 3)
        losses = rng.exponential(1.0, 300)[draw]
        drawn = bootstrap(lambda counts, right=right: {"top1": counts @ right / counts.sum()}, 300, seed=seed, resamples=100, groups=groups)
        found["share"] += covered(cluster_share(right, groups), 0.8)
        found["mean"] += covered(cluster_mean(losses, groups, seed=seed), 1.0)
        found["macro F1"] += covered(macro_f1(truth, named, groups), 0.8)
        found["bootstrap"] += covered(drawn["top1"], 0.8)
        plain += covered(wilson(int(right.sum()), 300), 0.8)
    assert min(found.values()) >= 0.86 * draws, found
    if alike:
        assert plain < 0.8 * draws, "images alone promise too much"


def test_groups_of_one_image_give_the_figures_of_images() -> None:
    rng = np.random.default_rng(2)
    truth, named, losses, own = rng.integers(0, 4, 80), rng.integers(0, 4, 80), rng.exponential(1.0, 80), np.arange(80)
    labels, answers = rng.random((80, 4)) < 0.4, rng.random((80, 4)) < 0.4
    for given in ((truth, named), (labels, answers)):
        alone, grouped = macro_f1(*given), macro_f1(*given, own)
        assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))
    alone, grouped = studentized_mean(losses), cluster_mean(losses, own)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high))

    def figure(counts: np.ndarray) -> dict[str, float]:
        return {"mean": float(counts @ losses / counts.sum())}

    assert bootstrap(figure, 80, resamples=50) == bootstrap(figure, 80, resamples=50, groups=own)
    assert chance_error(losses / 10) == chance_error(losses / 10, groups=own)


def test_the_test_of_flips_is_mcnemars_and_over_groups_that_of_every_exchange_of_whole_groups() -> None:
    gained, lost = np.arange(9), np.arange(9, 11)
    assert flip_test(gained, lost) == mcnemar(2, 9)
    assert flip_test(gained, lost, np.arange(20)) == pytest.approx(mcnemar(2, 9))
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 6])
    change = [3, 2, 1, 2, 0, -1]
    sums = np.array([np.dot(signs, change) for signs in product((-1, 1), repeat=6)])
    assert flip_test(gained, lost, groups) == pytest.approx(float((np.abs(sums) >= 7).mean()))
    assert flip_test(gained[:0], lost[:0], groups) == 1.0


def test_equal_models_are_told_apart_in_at_most_5_of_100_cases_though_images_of_a_group_flip_together() -> None:
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(40), 10)
    over, plain = 0, 0
    for _ in range(200):
        flips = rng.choice([-1, 0, 1], 40, p=[0.2, 0.6, 0.2])[groups]
        gained, lost = np.flatnonzero(flips > 0), np.flatnonzero(flips < 0)
        over += flip_test(gained, lost, groups) < 0.05
        plain += flip_test(gained, lost) < 0.05
    assert over <= 16
    assert plain > 60


def test_no_group_is_in_two_folds_and_an_image_has_no_say_in_the_temperature_of_its_group() -> None:
    groups = np.repeat(np.arange(30), 4)
    assert all(len(np.unique(fold_of(120, groups)[groups == number])) == 1 for number in range(30))
    rng = np.random.default_rng(4)
    targets = np.eye(3)[rng.integers(0, 3, 120)]
    logits = (2 * targets + rng.normal(0, 1, (120, 3))).astype(np.float32)
    changed = targets.copy()
    changed[0] = np.roll(changed[0], 1)
    before, after = (cross_fitted(logits, given, "softmax", groups) for given in (targets, changed))
    assert (before[:4] == after[:4]).all()
    assert (before[4:8] != after[4:8]).all()


def test_well_calibrated_groups_rarely_err_more_than_chance() -> None:
    over, plain, groups = 0, 0, np.repeat(np.arange(40), 5)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.4, 1, 40)[groups]
        error = measure_reliability(confidence, rng.random(40)[groups] < confidence).error
        over += error > chance_error(confidence, seed=seed, groups=groups)
        plain += error > chance_error(confidence, seed=seed)
    assert over < 9
    assert plain > 40
