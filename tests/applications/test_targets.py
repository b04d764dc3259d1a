"""Thresholds keep what they promise on the images that they were chosen on, and no laxer ones do."""

import numpy as np
import pytest

from applications.targets import (
    NEVER,
    Target,
    broken_by,
    choose_rejection,
    choose_thresholds,
    describe_broken,
    measure_rejection,
    parse_target,
)
from utils.errors import UserError


def answers(seed: int, count: int = 300, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.array([rng.choice(classes, p=row.astype(np.float64) / row.astype(np.float64).sum()) for row in shares]), shares


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.0, 0.05, 0.2])
def test_at_most_the_promised_share_of_accepted_answers_is_wrong(seed: int, limit: float) -> None:
    targets, shares = answers(seed)
    thresholds = choose_rejection(Target("error", limit), targets, shares)
    found, sure = shares.argmax(1), shares.max(1)
    for number, threshold in enumerate(thresholds):
        own = found == number
        accepted = own & (sure >= threshold)
        assert accepted.sum() == 0 or (targets[accepted] != number).mean() <= limit + 1e-9
        laxer = [(targets[own & (sure >= value)] != number).mean() for value in sure[own] if value < threshold]
        assert all(error > limit for error in laxer), "no lower threshold keeps the promise"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_at_most_the_promised_share_of_a_class_passes_as_another(seed: int, limit: float) -> None:
    targets, shares = answers(seed)
    kept = measure_rejection(choose_rejection(Target("miss", limit), targets, shares), targets, shares)
    assert all(each.miss <= limit + 1e-9 for each in kept[:-1])
    assert kept[-1].coverage > 0.0 or limit == 0


def spread(*groups: tuple[int, int, float, int], classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities of images in groups of (true class, answer, probability of the answer, images)."""
    rows = [group[:3] for group in groups for _ in range(group[3])]
    shares = np.array([[sure if number == found else (1 - sure) / (classes - 1) for number in range(classes)] for _, found, sure in rows])
    return np.array([true for true, _, _ in rows]), shares.astype(np.float32)


def test_misses_are_rejected_where_they_take_the_fewest_right_answers_along() -> None:
    # Of class 2 one of two mistakes may stay: the one among the answers of class 1 costs a right answer, the other one five.
    targets, shares = spread((0, 0, 0.6, 5), (1, 1, 0.6, 1), (2, 0, 0.8, 1), (2, 1, 0.8, 1), (2, 2, 0.9, 2))
    thresholds = choose_rejection(Target("miss", 0.25), targets, shares)
    assert (thresholds[0], thresholds[2]) == (0.0, 0.0)
    assert thresholds[1] == NEVER, "nothing of class 1 lies above its mistake"


def test_what_is_rejected_already_costs_nothing_more() -> None:
    # Class 0: two right answers below its first mistake, two more below the second; class 1: three below its only one.
    right = ((0, 0, 0.52, 2), (0, 0, 0.65, 2), (0, 0, 0.9, 1), (1, 1, 0.52, 3), (1, 1, 0.9, 1))
    targets, shares = spread(*right, (2, 0, 0.55, 1), (2, 0, 0.7, 1), (2, 1, 0.6, 1), (2, 2, 0.9, 1))
    thresholds = choose_rejection(Target("miss", 0.25), targets, shares)
    assert 0.7 < thresholds[0] <= 0.9
    assert thresholds[1] == 0.0


def test_wrong_answers_cost_nothing() -> None:
    right = ((0, 0, 0.6, 1), (0, 0, 0.9, 1), (1, 1, 0.6, 3), (1, 1, 0.9, 20))
    targets, shares = spread(*right, (1, 0, 0.6, 4), (2, 0, 0.8, 1), (2, 1, 0.8, 1), (2, 2, 0.9, 2))
    thresholds = choose_rejection(Target("miss", 0.25), targets, shares)
    assert 0.8 < thresholds[0] <= 0.9
    assert thresholds[1] == 0.0


def test_a_class_without_answers_is_not_rejected_for_misses() -> None:
    targets, shares = spread((0, 0, 0.9, 3), (1, 0, 0.6, 1))
    assert choose_rejection(Target("miss", 0.0), targets, shares)[1:] == (0.0, 0.0)


def test_promises_that_other_images_break_are_named_with_the_worst_first() -> None:
    names = ("a", "b", "c", "d")
    targets, shares = spread((0, 0, 0.9, 3), (0, 1, 0.9, 1), (1, 1, 0.9, 1), (1, 0, 0.9, 1), (2, 2, 0.5, 2), classes=4)
    none = (0.0,) * 4
    assert broken_by(Target("miss", 0.3), none, targets, shares, names) == {"b": 0.5}
    assert list(broken_by(Target("miss", 0.1), none, targets, shares, names).items()) == [("b", 0.5), ("a", 0.25)]
    assert broken_by(Target("miss", 0.5), none, targets, shares, names) == {}, "the limit itself keeps it"
    assert broken_by(Target("error", 0.3), none, targets, shares, names) == {"b": 0.5}
    assert broken_by(Target("coverage", 0.9), (0.0, 0.95, 0.6, 0.0), targets, shares, names) == {"b": 0.0, "c": 0.0}
    truth = np.array([[1, 0], [1, 1], [1, 0], [0, 0]])
    shares = np.array([[0.9, 0.8], [0.2, 0.9], [0.3, 0.1], [0.1, 0.1]], dtype=np.float32)
    assert broken_by(Target("miss", 0.5), (0.5, 0.5), truth, shares, ("x", "y")) == {"x": pytest.approx(2 / 3)}
    assert broken_by(Target("error", 0.4), (0.5, 0.5), truth, shares, ("x", "y")) == {"y": 0.5}
    said = describe_broken("miss<=0.1", dict.fromkeys("abcdefg", 0.5), 9)
    assert (
        said == "miss<=0.1 is not kept on these images for 7 of 9 classes: a (50.0%), b (50.0%), c (50.0%), d (50.0%), e (50.0%) and 2 more"
    )


def test_at_least_the_promised_share_is_kept() -> None:
    targets, shares = answers(7)
    thresholds = choose_rejection(Target("coverage", 0.8), targets, shares)
    for kept in measure_rejection(thresholds, targets, shares):
        assert 0.8 <= kept.coverage < 0.85


def test_a_class_without_answers_takes_the_threshold_of_all() -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0]], dtype=np.float32)
    first, second, third = choose_rejection(Target("error", 0.0), np.array([0, 1, 1]), shares)
    assert 0.6 < first <= 0.9
    assert second == 0.0
    assert third == pytest.approx(0.7)
    assert choose_rejection(Target("error", 0.0), np.array([1, 1, 0]), shares) == (NEVER, NEVER, NEVER)


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_may_be_missed_rarely_are_named_early(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, shares = rng.random((200, 3)) < 0.3, rng.random((200, 3)).astype(np.float32)
    for own, column, threshold in zip(truth.T, shares.T, choose_thresholds(Target("miss", 0.1), truth, shares), strict=True):
        assert (column[own] < threshold).mean() <= 0.1
        assert all((column[own] < value).mean() > 0.1 for value in column[own] if value > threshold + 0.1)
    for own, column, threshold in zip(truth.T, shares.T, choose_thresholds(Target("error", 0.5), truth, shares), strict=True):
        named = column >= threshold
        assert not named.any() or (~own[named]).mean() <= 0.5


def test_targets_are_read_and_mistakes_named() -> None:
    assert parse_target("miss<=0.01", several=False) == parse_target(" miss <= 1% ", several=True) == Target("miss", 0.01)
    assert str(Target("coverage", 0.9)) == "coverage>=0.9"
    for text, said in (("miss", "cannot be read"), ("mis<=0.1", "Did you mean miss?"), ("miss>=0.1", "miss<="), ("error<=2", "no share")):
        with pytest.raises(UserError, match=said) as caught:
            parse_target(text, several=False)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no 'coverage' here"):
        parse_target("coverage>=0.9", several=True)
