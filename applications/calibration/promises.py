"""--target: the probability that an answer of each class must reach, so that a guarantee holds for new images.

A guarantee holds at CONFIDENCE for all classes at once: they are put into groups, and the groups share the risk. A class with many
validation images is a group of its own; the others form one group, which has one guarantee for all of them together. The grouping depends
only on how many images each class has, never on which answers are wrong. How a threshold is found: utils/metrics/risk_control.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from utils.errors import UserError, nearest
from utils.metrics.risk_control import NEVER, RISK, between, fewest, images_wanted, limit_risk, most_failures, pool_small

CONFIDENCE = 1 - RISK

PROMISES = {
    "error": ("<=", "of the answers of a class that are accepted, at most this share is wrong"),
    "miss": (
        "<=",
        "of the images of a class, at most this share is accepted as another, for several labels not named, of objects not found",
    ),
    "false_alarm": ("<=", "of the images, at most this share has a box where nothing is (boxes)"),
    "coverage": (">=", "of the answers of a class, at least this share is accepted (one label per image)"),
}


@dataclass(frozen=True)
class Promise:
    """What is to be guaranteed, such as miss <= 0.01.

    Attributes:
        name: a row of PROMISES.
        limit: a share in [0, 1].
    """

    name: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}{PROMISES[self.name][0]}{self.limit:g}"


def parse_promise(text: str, known: Sequence[str]) -> Promise:
    """Return the promise that a text such as 'miss<=0.01' or 'error<=1%' names.

    Args:
        text: what the user wrote.
        known: the rows of PROMISES that the task can promise.

    Raises:
        UserError: it cannot be read, or this task cannot guarantee it.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*([\d.eE+-]+)\s*(%?)\s*", text)
    usual = ", ".join(f"'{name}{PROMISES[name][0]}{0.9 if name == 'coverage' else 0.01}'" for name in known)
    if match is None:
        raise UserError(f"--target '{text}' cannot be read; write one of {usual}")
    name, sign, number, percent = match.groups()
    if name not in known:
        raise UserError(f"--target '{text}': there is no '{name}' here.{nearest(name, known)} Write one of {usual}")
    if sign != PROMISES[name][0]:
        raise UserError(f"--target '{text}': write {name}{PROMISES[name][0]}...: {PROMISES[name][1]}")
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError as error:
        raise UserError(f"--target '{text}': {number} is not a number; write one of {usual}") from error
    if not 0 <= limit <= 1:
        raise UserError(f"--target '{text}': {number}{percent} is not a share from 0 to 1")
    if name != "coverage" and limit in (0, 1):
        why = "no number of images proves that nothing is wrong" if limit == 0 else "everything keeps that"
        raise UserError(f"--target '{text}': {why}; write a share between, such as 0.01")
    return Promise(name, limit)


@dataclass(frozen=True)
class Support:
    """The validation images behind the guarantee for a group of classes.

    Attributes:
        members: the classes.
        count: how many are counted: accepted answers for 'error', images of the classes for 'miss', answers for 'coverage'.
        failures: how many of them fail.
        wanted: None where answers are accepted; else about how many validation images would be needed to accept any, inf where no number
            is enough; groups of images, where they come in groups.
    """

    members: tuple[int, ...]
    count: int
    failures: int
    wanted: float | None = None


@dataclass(frozen=True)
class ThresholdChoice:
    """Thresholds (C,) of a promise, and the validation images behind them.

    Attributes:
        thresholds: below which an answer is rejected (one label per image), or from which on a label is named (several).
        groups: of classes; every class is in one.
        images: number of validation images.
        image_groups: number of groups that these images come in, such as objects that they show: one image of each was counted. None
            where images are independent.
    """

    thresholds: tuple[float, ...]
    groups: tuple[Support, ...]
    images: int
    image_groups: int | None = None

    @property
    def unmet(self) -> list[Support]:
        """Return the groups for which no threshold gives the guarantee."""
        return [group for group in self.groups if group.wanted is not None]

    @property
    def is_empty(self) -> bool:
        """Whether no group has a threshold that gives the guarantee."""
        return len(self.unmet) == len(self.groups) or min(self.thresholds) >= NEVER


def choose_rejection(promise: Promise, targets: np.ndarray, probabilities: np.ndarray) -> ThresholdChoice:
    """Return, for one label per image, the probability that an answer of each class must reach to be accepted.

    Args:
        promise: what must be guaranteed.
        targets: class indices (N,).
        probabilities: (N, C).
    """
    choose = {"error": _limit_error, "miss": _limit_misses, "coverage": _keep_coverage}[promise.name]
    thresholds, groups = choose(promise.limit, targets, probabilities)
    return ThresholdChoice(tuple(thresholds.tolist()), tuple(groups), len(targets))


def choose_thresholds(promise: Promise, truth: np.ndarray, probabilities: np.ndarray) -> ThresholdChoice:
    """Return, for several labels per image, the probability from which on each label is named.

    Labels with few images share one threshold. Their guarantee counts images: among images given at least one of these labels, the share
    with a wrong one is at most the limit (error); among images that have one, the share that misses one is at most the limit (miss).

    Args:
        promise: 'error' or 'miss'.
        truth: bool (N, C).
        probabilities: (N, C).
    """
    assert promise.name in ("error", "miss"), promise.name
    choose = _limit_wrong_names if promise.name == "error" else _limit_missed_names
    thresholds, groups = choose(promise.limit, truth, probabilities)
    return ThresholdChoice(tuple(thresholds.tolist()), tuple(groups), len(truth))


ThresholdsWithSupport = tuple[np.ndarray, list[Support]]


def _share_risk(limit: float, groups: int) -> int:
    return fewest(limit, RISK / groups)


def _limit_error(limit: float, targets: np.ndarray, probabilities: np.ndarray) -> ThresholdsWithSupport:
    found, confidence = probabilities.argmax(1), probabilities.max(1)
    failing = np.where(found == targets, -1.0, confidence)
    sizes = np.bincount(found, minlength=probabilities.shape[1])
    groups = pool_small(sizes, partial(_share_risk, limit))
    parts = ((members, np.isin(found, members)) for members in groups)
    return _risk_of_groups(limit, len(sizes), [(members, confidence[own], failing[own]) for members, own in parts], len(targets))


def _limit_wrong_names(limit: float, truth: np.ndarray, probabilities: np.ndarray) -> ThresholdsWithSupport:
    # Classes are grouped by expected counts (the sum of probabilities), not by true labels, which the guarantee must not look at.
    groups = pool_small(probabilities.sum(0), partial(_share_risk, limit))
    wrong = np.where(truth, -1.0, probabilities)
    parts = [(members, probabilities[:, members].max(1), wrong[:, members].max(1)) for members in groups]
    return _risk_of_groups(limit, truth.shape[1], parts, len(truth))


def _risk_of_groups(
    limit: float, classes: int, parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], images: int
) -> ThresholdsWithSupport:
    """Return the thresholds of groups, each given by its members, its scores and those of its failures."""
    thresholds, supports = np.full(classes, NEVER), []
    for members, scores, failing in parts:
        kept = limit_risk(scores, failing, limit, RISK / len(parts))
        thresholds[members] = kept.threshold
        wanted = images * images_wanted(scores, failing, limit, RISK / len(parts)) if kept.threshold >= NEVER else None
        supports.append(Support(tuple(members.tolist()), kept.count, kept.failures, wanted))
    return thresholds, supports


def _limit_misses(limit: float, targets: np.ndarray, probabilities: np.ndarray) -> ThresholdsWithSupport:
    """Return thresholds at which at most this share of the images of every group is accepted as another class.

    Raising one common threshold never adds misses, so a single bound at the lowest threshold that satisfies it is valid (Bates,
    Angelopoulos, Lei, Malik, Jordan: Distribution-Free, Risk-Controlling Prediction Sets, arXiv 2101.02703). The threshold of an answer
    is the largest one that the other classes need, since only their images can be missed by it.
    """
    found, confidence = probabilities.argmax(1), probabilities.max(1)
    failing = np.where(found == targets, -1.0, confidence)
    sizes = np.bincount(targets, minlength=probabilities.shape[1])
    groups = pool_small(sizes, partial(_share_risk, limit))
    thresholds, ranked = np.zeros(len(sizes)), np.sort(confidence)
    allowed = [most_failures(int(sizes[members].sum()), limit, RISK / len(groups)) for members in groups]
    for members, most in zip(groups, allowed, strict=True):
        asked = _above(ranked, failing[np.isin(targets, members)], most)
        others = np.arange(len(sizes)) != members[0] if len(members) == 1 else slice(None)
        thresholds[others] = np.maximum(thresholds[others], asked)
    accepted = confidence >= thresholds[found]
    supports = []
    for members, most in zip(groups, allowed, strict=True):
        own = np.isin(targets, members)
        wanted = len(targets) * _share_risk(limit, len(groups)) / max(1, int(own.sum())) if most < 0 else None
        supports.append(Support(tuple(members.tolist()), int(own.sum()), int((accepted & (failing >= 0))[own].sum()), wanted))
    return thresholds, supports


def _above(ranked: np.ndarray, failing: np.ndarray, most: int) -> float:
    """Return the lowest threshold that at most `most` failures reach, halfway between two of the sorted probabilities."""
    if most < 0:
        return NEVER
    worst = float(np.sort(failing)[::-1][most])
    if worst < 0:
        return 0.0
    place = int(np.searchsorted(ranked, worst, "right"))
    return between(worst, float(ranked[place])) if place < len(ranked) else NEVER


def _limit_missed_names(limit: float, truth: np.ndarray, probabilities: np.ndarray) -> ThresholdsWithSupport:
    groups = pool_small(truth.sum(0), partial(_share_risk, limit))
    scores = np.where(truth, probabilities, 1.0)
    parts = [(members, scores[:, members].min(1)[truth[:, members].any(1)]) for members in groups]
    return _keep_share(limit, truth.shape[1], parts, len(truth))


def _keep_coverage(limit: float, targets: np.ndarray, probabilities: np.ndarray) -> ThresholdsWithSupport:
    del targets
    found, confidence = probabilities.argmax(1), probabilities.max(1)
    parts = [(np.array([number]), confidence[found == number]) for number in range(probabilities.shape[1])]
    thresholds, supports = _keep_share(1 - limit, probabilities.shape[1], parts, len(found))
    # Where a class has few answers all of them are accepted, which satisfies any coverage.
    return thresholds, [Support(each.members, each.count, each.failures) for each in supports]


def _keep_share(limit: float, classes: int, parts: Sequence[tuple[np.ndarray, np.ndarray]], images: int) -> ThresholdsWithSupport:
    """Return the highest thresholds below which at most this share of the scores of each group lies; 0 where there are too few."""
    thresholds, supports = np.zeros(classes), []
    for members, scores in parts:
        most, ranked = most_failures(len(scores), limit, RISK / len(parts)), np.sort(scores)
        if most >= 0:
            thresholds[members] = between(float(ranked[most - 1]), float(ranked[most])) if most else float(ranked[0])
        wanted = images * _share_risk(limit, len(parts)) / max(1, len(scores)) if most < 0 else None
        supports.append(Support(tuple(members.tolist()), len(scores), int((scores < thresholds[members[0]]).sum()), wanted))
    return thresholds, supports
