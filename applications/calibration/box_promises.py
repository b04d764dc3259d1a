"""--target of a detector: the least score of an answered box, so that a guarantee holds for new images, at 95% confidence.

Objects and boxes of an image are not independent, so images are counted, or groups of images.

miss: of the objects of a class, at most this share is found by no answer. As many classes as have images enough are guaranteed each by
itself, the others together; they share the risk, as in promises.py. Each group has a highest score by which its bound holds
(utils/metrics/clustered_risk.py); the lowest of them is the one for all, since a lower one only finds more.

false_alarm: of the images, at most this share has an answer that finds nothing, by the exact bound of Clopper and Pearson (1934).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from applications.calibration.promises import CONFIDENCE, Promise
from applications.tasks.box_meter import MEASURED, BoxMeter
from applications.tasks.defect_threshold import above
from utils.errors import UserError, shorten
from utils.metrics.clustered_risk import evidence, proves, weights_of
from utils.metrics.risk_control import MORE, RISK, between, fewest, most_failures, pool_small
from utils.text import two_digits


@dataclass(frozen=True)
class LeastScore:
    """A least score of a promise, and the validation images behind it.

    Attributes:
        value: the score.
        failures, count: objects that it misses, of so many of the guaranteed classes; or images with a false box, of so many.
        unmet: numbers of the classes that no score gives the guarantee.
    """

    value: float
    failures: int
    count: int
    unmet: tuple[int, ...] = ()


class UnprovenError(Exception):
    """No score gives the guarantee.

    Args:
        share: of what fails at best.
        wanted: how many times as many images might be enough; inf where no number is.
    """

    def __init__(self, share: float, wanted: float) -> None:
        self.share = share
        self.wanted = wanted


def choose_least_score(promise: Promise, meter: BoxMeter, groups: np.ndarray | None = None) -> LeastScore:
    """Return the least score that keeps a promise.

    Args:
        promise: 'miss' or 'false_alarm'.
        meter: of the validation images.
        groups: number of the group of each image of the split, (N,), such as the video it is a frame of; None where they are independent.

    Raises:
        UserError: the images do not prove it at any score.
    """
    units = np.arange(len(meter.positions)) if groups is None else np.unique(groups[meter.positions], return_inverse=True)[1]
    what = "images" if groups is None else "groups of images"
    count = int(units.max(initial=-1)) + 1
    try:
        if promise.name == "false_alarm":
            return by_alarms(promise.limit, *_false(meter, units), count)
        return by_misses(promise.limit, *_objects(meter, units), len(meter.classes))
    except UnprovenError as error:
        least = f"--target '{promise}': {count} val {what} cannot prove it at {CONFIDENCE:.0%} confidence"
        failing = "of the objects are missed at any score" if promise.name == "miss" else "have a false box at any score"
        if math.isinf(error.wanted):
            raise UserError(f"{least}: {error.share:.1%} {failing}; promise less, or train longer") from None
        more = two_digits(max(MORE, error.wanted) * count)
        raise UserError(f"{least}; about {more:,} might. Hold out more (--val_share), or promise less") from None


def _objects(meter: BoxMeter, units: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of every object that counts the score of the answer that finds it, -1 for none, its class and its unit, (K,) each."""
    matches, scores = meter.matches, np.full(len(meter.matches.truths.classes), -1.0)
    hits = matches.hits[0, 0]
    scores[matches.found[0][hits]] = matches.answers.scores[hits]
    real = ~matches.uncounted[0]
    return scores[real], matches.truths.classes[real], units[matches.truths.images[real]]


def _false(meter: BoxMeter, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and the units of answers that find nothing, (K,) each."""
    matches = meter.matches
    false = ~matches.hits[0, 0] & ~matches.ignored[0, 0]
    return matches.answers.scores[false].astype(np.float64), units[matches.answers.images[false]]


def by_misses(limit: float, scores: np.ndarray, labels: np.ndarray, units: np.ndarray, classes: int) -> LeastScore:
    """Return the highest score by which at most this share of the objects of every group of classes is missed.

    Args:
        limit: the share.
        scores: of the answer that finds each object, -1 for none, (K,).
        labels: classes of the objects, (K,).
        units: numbers of their images, (K,).
        classes: how many there are.

    Raises:
        UnprovenError: no score does that for any group.
    """
    sizes = np.array([weights_of(np.unique(units[labels == each], return_counts=True)[1]).sum() for each in range(classes)])
    groups = pool_small(sizes, partial(_share_risk, limit))
    found, unmet, reasons = [], [], []
    for members in groups:
        own = np.isin(labels, members)
        try:
            found.append(_highest(limit, scores[own], units[own], RISK / len(groups)))
        except UnprovenError as error:
            unmet += members.tolist()
            reasons.append(error)
    if not found:
        raise min(reasons, key=lambda error: error.wanted)
    value, kept = min(found), ~np.isin(labels, unmet)
    return LeastScore(value, int((scores[kept] < value).sum()), int(kept.sum()), tuple(sorted(unmet)))


def _share_risk(limit: float, groups: int) -> int:
    return fewest(limit, RISK / groups)


def _highest(limit: float, scores: np.ndarray, units: np.ndarray, risk: float) -> float:
    """Return the highest score by which the bound for a group of classes holds."""
    _, unit, counts = np.unique(units, return_inverse=True, return_counts=True)

    def missed(least: float) -> np.ndarray:
        return np.bincount(unit[scores < least], minlength=len(counts))

    ladder = np.unique(scores[scores >= 0])
    # Misses rise with the score, and the bound with them.
    low, high = -1, len(ladder)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if proves(missed(float(ladder[middle])), counts, limit, risk) else (low, middle)
    if low >= 0:
        return between(float(ladder[low - 1]), float(ladder[low])) if low else float(ladder[0])
    share, grown = float((scores < 0).mean()) if len(scores) else 0.0, evidence(missed(0.0), counts, limit, risk)
    if share >= limit:
        raise UnprovenError(share, math.inf)
    raise UnprovenError(share, math.log(1 / risk) / grown if grown > 0 else fewest(limit, risk) / max(1, len(counts)))


def by_alarms(limit: float, scores: np.ndarray, units: np.ndarray, count: int) -> LeastScore:
    """Return the lowest score at which at most this share of the images has a false box.

    Args:
        limit: the share.
        scores: of answers that find nothing, (K,).
        units: numbers of their images, (K,).
        count: images.

    Raises:
        UnprovenError: no score does.
    """
    allowed = most_failures(count, limit, RISK)
    if allowed < 0:
        raise UnprovenError(0.0, fewest(limit, RISK) / max(1, count))
    surest = np.full(count, MEASURED / 2)
    np.maximum.at(surest, units, scores)
    ranked = np.sort(surest)[::-1]
    quiet = float(ranked[allowed])
    louder = ranked[:allowed][ranked[:allowed] > quiet]
    value = between(quiet, float(louder.min())) if len(louder) else above(quiet)
    if value > 1:
        raise UnprovenError(float((surest >= 1).mean()), math.inf)
    return LeastScore(value, int((surest >= value).sum()), count)


def describe_least_score(promise: Promise, chosen: LeastScore, classes: Sequence[str]) -> str:
    """Return in words what a least score promises, and by what."""
    what = "objects are missed" if promise.name == "miss" else "images have a false box"
    said = f"{chosen.value:.3f}, so that {promise} at {CONFIDENCE:.0%} confidence: {chosen.failures} of {chosen.count} val {what}"
    return f"{said}; no promise for {shorten([classes[each] for each in chosen.unmet])}" if chosen.unmet else said
