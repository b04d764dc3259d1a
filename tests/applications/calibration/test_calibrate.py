"""A promise of --target counts one image a group, and is kept however alike the images of a group are."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from applications.calibration import calibrate
from applications.calibration.calibrate import choose
from applications.calibration.promises import Promise, ThresholdChoice
from applications.calibration.threshold_outcome import describe_choice, describe_unmet
from applications.tasks.classify import Classify
from applications.tasks.label_prediction import Prediction
from criterions.weighted import Criterion, build_elementwise
from dataloader.images.preprocess import Preprocess
from utils.metrics.risk_control import NEVER
from utils.spec import parse_specs


def answers(sure: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and probabilities of two classes, of answers `sure` (N,) that are right or not (N,)."""
    found = np.arange(len(sure)) % 2
    probabilities = np.where(found[:, None] == np.arange(2), sure[:, None], 1 - sure[:, None])
    return np.where(right, found, 1 - found), probabilities


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("name", ["error", "miss"])
def test_at_most_5_of_100_promises_are_broken_where_images_come_in_groups(alike: bool, size: int, name: str) -> None:
    rng, draws, broken, before = np.random.default_rng(0), 200, 0, 0
    groups = np.repeat(np.arange(150), size)
    for _ in range(draws):
        draw = np.arange(150)[groups] if alike else np.arange(len(groups))
        # Of the answers at any probability 6% are wrong: to accept all, or most, breaks the promise.
        sure, right = rng.uniform(0.6, 1, len(groups))[draw], (rng.random(len(groups)) >= 0.06)[draw]
        targets, probabilities = answers(sure, right)
        limits = [min(choose(Promise(name, 0.05), targets, probabilities, given).thresholds) for given in (groups, None)]
        # A miss is a wrong answer that is accepted; of all images, 5% are where the surest five sixths of the answers are accepted.
        most = 0.6 + 0.4 / 6 if name == "miss" else NEVER
        broken += limits[0] < most
        before += limits[1] < most
    assert broken <= binom.ppf(0.99, draws, 0.05)
    if alike:
        assert before > 0.1 * draws, "the same by images is broken too often"


def test_the_promise_says_how_many_groups_it_rests_on() -> None:
    groups = np.repeat(np.arange(100), 5)
    targets, probabilities = answers(np.full(500, 0.9), np.ones(500, dtype=bool))
    choice = choose(Promise("error", 0.05), targets, probabilities, groups)
    assert (choice.images, choice.image_groups, sum(group.count for group in choice.groups)) == (500, 100, 100)
    said = describe_choice(Promise("error", 0.05), choice, ("a", "b"))
    assert said.startswith("error<=0.05 at 95% confidence, by 500 validation images in 100 groups, one of each counted: ")
    small = choose(Promise("error", 0.01), targets, probabilities, groups)
    said = describe_unmet(small, ("a", "b"), multi_label=False)
    assert said.startswith("nothing can be accepted at this limit with 500 validation images in 100 groups; about ")
    assert said.endswith(" groups would be enough")
    labels = choose(Promise("miss", 0.05), np.eye(2)[targets], probabilities, groups)
    assert labels.image_groups == 100


def test_no_image_is_checked_by_thresholds_that_its_own_group_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    def watched(promise: Promise, targets: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None) -> ThresholdChoice:
        if groups is not None:
            asked.append(groups)
        return choose(promise, targets, probabilities, groups)

    monkeypatch.setattr(calibrate, "choose", watched)
    groups = np.repeat(np.arange(100), 5)
    targets, probabilities = answers(np.full(500, 0.9), np.ones(500, dtype=bool))
    logits = torch.from_numpy(np.log(probabilities))
    given = Prediction(torch.arange(500), torch.from_numpy(targets), torch.zeros(500), logits, "softmax")
    task: Any = Classify(
        ("a", "b"), Criterion(build_elementwise(parse_specs("softmax")[0])), Preprocess(image_size=(4, 4)), torch.device("cpu")
    )
    calibrate.cross_checked(task, given, Promise("error", 0.2), refit=True, groups=groups)
    assert len(asked) == 5
    for own in asked:
        assert (np.bincount(own, minlength=100)[np.unique(own)] == 5).all(), "a group is left out whole"
