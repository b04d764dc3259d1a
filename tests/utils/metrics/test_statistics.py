"""Intervals cover what they say, and tests are their formulas."""

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from scipy.stats import t as student_t
from sklearn.metrics import average_precision_score, f1_score

from benchmarks.figure_intervals import label_answers
from utils.metrics.statistics import (
    bootstrap,
    falling,
    holm,
    macro_f1,
    mcnemar,
    share_interval,
    studentized_mean,
    weighted_average_precision,
    wilson,
)


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


def test_a_share_that_no_draw_has_is_no_number() -> None:
    found = bootstrap(lambda _times: {"iou": float("nan")}, 20, resamples=10, shares=("iou",))["iou"]
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_share_that_few_samples_show_has_a_wide_interval() -> None:
    shows = np.arange(100) < 5
    rights = np.random.default_rng(4).random(100)

    def figures(counts: np.ndarray) -> dict[str, float]:
        drawn = counts * shows
        value = float(drawn @ rights / drawn.sum()) if drawn.any() else float("nan")
        return {"all": value, "few": value, "one": value}

    found = bootstrap(figures, 100, shares=("all", "few", "one"), evidence={"few": 5, "one": 1}, resamples=200)
    assert found["few"].high - found["few"].low > 1.25 * (found["all"].high - found["all"].low)
    assert (found["one"].low, found["one"].high) == (0, 1)


@pytest.mark.parametrize(("count", "shown"), [(20, 20), (50, 4), (200, 8)])
def test_the_interval_of_a_ratio_that_few_images_show_covers_the_truth(count: int, shown: int) -> None:
    rng, held = np.random.default_rng(shown), 0
    for seed in range(100):
        area = rng.gamma(1.0, 1.0, count) * (np.arange(count) < shown)
        hit = area * rng.beta(3, 2, count)
        found = bootstrap(
            lambda counts, hit=hit, area=area: {"IoU": float(counts @ hit / (counts @ area)) if counts @ area else float("nan")},
            count,
            seed=seed,
            resamples=60,
            shares=("IoU",),
            evidence={"IoU": shown},
        )["IoU"]
        held += found.low <= 0.6 <= found.high
    assert held >= 89


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


@pytest.mark.parametrize("imbalanced", [False, True])
@pytest.mark.parametrize("accuracy", [0.75, 0.97])
@pytest.mark.parametrize(("classes", "count"), [(2, 100), (2, 400), (6, 100), (6, 400), (100, 1000)])
def test_the_interval_of_macro_f1_covers_the_truth_95_times_in_100(classes: int, count: int, accuracy: float, imbalanced: bool) -> None:
    rng, draws = np.random.default_rng(0), 300
    of_all = label_answers(rng, 300_000, classes, accuracy, uneven=imbalanced)
    true = macro_f1(*of_all).value
    covered = 0
    for _ in range(draws):
        found = macro_f1(*label_answers(rng, count, classes, accuracy, uneven=imbalanced))
        covered += found.low <= true <= found.high
    # 300 draws of a true 95% lie from 0.92 on in 99 of 100 cases.
    assert covered / draws >= 0.92


def test_macro_f1_and_the_values_without_each_sample_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth, found = label_answers(rng, 30, 4, 0.7, uneven=True)
    several, named = rng.random((20, 5)) < 0.2, rng.random((20, 5)) < 0.3

    def of(true: np.ndarray, said: np.ndarray) -> float:
        labels = np.unique(true) if true.ndim == 1 else np.flatnonzero(true.any(0))
        return float(f1_score(true, said, labels=labels, average="macro", zero_division=0.0))  # pyright: ignore[reportArgumentType]

    for true, said in ((truth, found), (several, named)):
        without = np.array([of(np.delete(true, i, 0), np.delete(said, i, 0)) for i in range(len(true))])
        value, count = of(true, said), len(true)
        deviation = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
        bias, ends = (count - 1) * (without.mean() - value), []
        odds, slope = np.log(value / (1 - value)), value * (1 - value)
        for middle, spread in ((odds, np.hypot(deviation, bias)), (odds - bias / slope, deviation)):
            half = student_t.ppf(0.975, count - 1) * spread / slope
            ends += [1 / (1 + np.exp(half - middle)), 1 / (1 + np.exp(-half - middle))]
        result = macro_f1(true, said)
        assert result.value == pytest.approx(value)
        assert [result.low, result.high] == pytest.approx([min(ends), max(ends)])


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("shown", "points"), [(7, 0.05), (3, 0.1), (2, 0.5)])
def test_one_mistake_among_30_classes_says_the_less_the_fewer_images_show_the_class(shown: int, points: float, grouped: bool) -> None:
    truth = np.append(np.arange(200 - shown) % 29, np.full(shown, 29))
    said = np.append(truth[:-1], 0)
    found = macro_f1(truth, said, np.arange(200) if grouped else None)
    assert 0.98 < found.value < found.high < 1
    assert found.value - points < found.low < found.value - 0.01


def test_a_bias_near_one_moves_the_interval_without_stretching_it_to_nothing() -> None:
    found = share_interval(0.99, 0.007, -0.007, 200)
    assert 0.9 < found.low < 0.975
    assert 0.995 < found.high < 1
    mirrored = share_interval(0.01, 0.007, 0.007, 200)
    assert [1 - mirrored.high, 1 - mirrored.low] == pytest.approx([found.low, found.high])


def test_macro_f1_without_a_mistake_is_as_sure_as_the_images_are_many() -> None:
    truth = np.arange(40) % 4
    found, expected = macro_f1(truth, truth), wilson(40, 40)
    assert (found.value, found.low, found.high) == (1.0, expected.low, 1.0)
    assert (macro_f1(truth[:0], truth[:0]).low, macro_f1(truth[:0], truth[:0]).high) == (0.0, 1.0)


def test_the_interval_of_a_mean_loss_covers_the_truth_where_few_images_carry_it() -> None:
    rng = np.random.default_rng(1)

    def losses(count: int) -> np.ndarray:
        # Most answers are sure and right; about one in ten is wrong.
        return -np.log(np.clip(1 - rng.random(count) ** 8, 1e-6, 1))

    true, covered, plain = losses(1_000_000).mean(), 0, 0
    for seed in range(200):
        drawn = losses(100)
        found = studentized_mean(drawn, seed=seed, resamples=200)
        percentile = bootstrap(lambda counts, drawn=drawn: {"loss": float(counts @ drawn / 100)}, 100, seed=seed, resamples=200)["loss"]
        covered += found.low <= true <= found.high
        plain += percentile.low <= true <= percentile.high
        assert found.value == pytest.approx(drawn.mean())
    assert covered > plain
    assert covered / 200 > 0.9
    assert studentized_mean(np.full(5, 2.0)).high == 2.0


def test_the_interval_of_map_covers_the_truth_more_often_than_the_percentiles() -> None:
    rng = np.random.default_rng(0)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.random((count, 10)) < 0.1
        return truth, rng.normal(0, 1, truth.shape) + 2 * truth

    def of(truth: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
        order, last = falling(scores)

        def figure(counts: np.ndarray) -> dict[str, float]:
            value = float(np.nanmean(weighted_average_precision(order, last, truth, counts)))
            return {"mAP": value, "percentile": value}

        return figure

    true = of(*images(30_000))(np.ones(30_000, dtype=int))["mAP"]
    covered = {"mAP": 0, "percentile": 0}
    for seed in range(100):
        found = bootstrap(of(*images(150)), 150, seed=seed, resamples=60, shares=("mAP",))
        for name, each in found.items():
            covered[name] += each.low <= true <= each.high
    assert covered["mAP"] > max(88, covered["percentile"])
