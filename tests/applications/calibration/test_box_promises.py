"""The least score of a promise keeps it on other images, and is refused where the images do not prove it."""

import numpy as np
import pytest

from applications.calibration.box_promises import UnprovenError, by_alarms, by_misses, choose_least_score
from applications.calibration.promises import Promise
from applications.tasks.box_answers import BoxAnswer, Choice
from applications.tasks.box_meter import BoxMeter, BoxRow, BoxState
from utils.errors import UserError


def drawn(rng: np.random.Generator, images: int, classes: int, *, together: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, classes and images of objects: those of one image are missed together, the more the more there are."""
    counts = rng.geometric(0.25, images)
    units = np.repeat(np.arange(images), counts)
    labels = rng.choice(classes, len(units), p=(share := 1 / np.arange(1, classes + 1)) / share.sum())
    hard = together * rng.normal(size=images)[units] + np.sqrt(1 - together**2) * rng.normal(size=len(units)) - 0.05 * (counts[units] - 4)
    return np.where(hard < -2.3, -1, 1 / (1 + np.exp(-1.2 - hard))), labels, units


@pytest.mark.parametrize("classes", [1, 20])
@pytest.mark.parametrize("together", [0.0, 1.0])
def test_misses_stay_within_the_promise_on_other_images(classes: int, together: float) -> None:
    many, _, _ = drawn(np.random.default_rng(1), 50_000, classes, together=together)
    rng, broken, missed = np.random.default_rng(0), 0, []
    for _ in range(25):
        chosen = by_misses(0.2, *drawn(rng, 300, classes, together=together), classes)
        missed.append(float((many < chosen.value).mean()))
        broken += missed[-1] > 0.2
    assert broken <= 3
    assert np.mean(missed) > 0.07, "a bound that costs nearly everything would be of no use"


def test_false_alarms_stay_within_the_promise_on_other_images() -> None:
    rng, broken = np.random.default_rng(0), 0
    for _ in range(200):
        units = np.repeat(np.arange(120), rng.poisson(2, 120))
        chosen = by_alarms(0.1, 0.99 * rng.random(len(units)), units, 120)
        # An image has a false box of this score or more with the probability that one of its Poisson boxes reaches it.
        broken += 1 - np.exp(-2 * max(0.0, 1 - chosen.value / 0.99)) > 0.1
    assert broken <= 0.09 * 200


def test_what_nobody_finds_cannot_be_promised_by_more_images() -> None:
    scores = np.r_[np.full(70, 0.9), np.full(30, -1.0)]
    with pytest.raises(UnprovenError) as told:
        by_misses(0.2, scores, np.zeros(100, np.int64), np.arange(100), 1)
    assert (told.value.share, told.value.wanted) == (0.3, float("inf"))


def meter_of(images: int) -> BoxMeter:
    """Return images with an object each, which is found with a score that rises, and a false box of 0.3."""
    meter, box = BoxMeter(["one", "two"], Choice(0.001)), [[0.0, 0, 10, 10]]
    for number in range(images):
        answer = BoxAnswer(
            np.array([*box, [50, 50, 60, 60]], np.float32), np.array([0.5 + number / 1000, 0.3], np.float32), np.zeros(2, np.int64)
        )
        truth = np.array(box, np.float32), np.zeros(1, np.int64), np.zeros(1, bool), np.full(1, 100.0)
        meter.merge(BoxState({number: BoxRow(answer, *truth)}, {}))
    return meter


def test_a_meter_gives_the_least_score_of_either_promise() -> None:
    meter = meter_of(100)
    chosen = choose_least_score(Promise("miss", 0.05), meter)
    assert (chosen.value, chosen.failures, chosen.count) == (0.5, 0, 100)
    looser = choose_least_score(Promise("miss", 0.2), meter)
    assert 0.5 < looser.value < 0.6
    assert looser.failures == round(1000 * (looser.value - 0.5) + 0.5)
    alarms = choose_least_score(Promise("false_alarm", 0.05), meter)
    assert 0.3 < alarms.value < 0.5
    assert alarms.failures == 0


def test_too_few_images_are_refused_with_how_many_might_do() -> None:
    for name in ("miss", "false_alarm"):
        with pytest.raises(UserError, match=rf"--target '{name}<=0.05': 20 val images cannot prove it at 95% confidence; about \d+ might"):
            choose_least_score(Promise(name, 0.05), meter_of(20))
    # Of 100 images that come in 10 groups, ten count.
    with pytest.raises(UserError, match="10 val groups of images cannot prove it"):
        choose_least_score(Promise("miss", 0.05), meter_of(100), np.arange(100) % 10)
