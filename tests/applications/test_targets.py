"""Thresholds keep what they promise on the images that they were chosen on, and no laxer ones do."""

import numpy as np
import pytest

from applications.targets import NEVER, Target, choose_rejection, choose_thresholds, measure_rejection, parse_target
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
