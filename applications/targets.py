"""--target: the probability that an answer of each class must reach, so that a promise is kept on the validation images.

Rejecting what is unsure: Geifman and El-Yaniv: Selective Classification for Deep Neural Networks (arXiv 1705.08500).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError, nearest

# No probability reaches it.
NEVER = 2.0
BROKEN_SHOWN = 5

TARGETS = {
    "error": ("<=", "of the answers of a class that are accepted, at most this share is wrong"),
    "miss": ("<=", "of the images of a class, at most this share is accepted as another class, or for several labels not named"),
    "coverage": (">=", "of the answers of a class, at least this share is accepted (one label an image)"),
}


@dataclass(frozen=True)
class Target:
    """A promise, such as miss <= 0.01.

    Attributes:
        name: a row of TARGETS.
        limit: a share in [0, 1].
    """

    name: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}{TARGETS[self.name][0]}{self.limit:g}"


def parse_target(text: str, *, several: bool) -> Target:
    """Return the target that a text such as 'miss<=0.01' or 'error<=1%' names.

    Args:
        text: what the user wrote.
        several: whether an image has several labels.

    Raises:
        UserError: it is none, or none for this task.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*([\d.eE+-]+)\s*(%?)\s*", text)
    known = [name for name in TARGETS if not (several and name == "coverage")]
    usual = ", ".join(f"'{name}{TARGETS[name][0]}{0.9 if name == 'coverage' else 0.01}'" for name in known)
    if match is None:
        raise UserError(f"--target '{text}' cannot be read; write one of {usual}")
    name, sign, number, percent = match.groups()
    if name not in known:
        raise UserError(f"--target '{text}': there is no '{name}' here.{nearest(name, known)} Write one of {usual}")
    if sign != TARGETS[name][0]:
        raise UserError(f"--target '{text}': write {name}{TARGETS[name][0]}...: {TARGETS[name][1]}")
    try:
        limit = float(number) / (100 if percent else 1)
    except ValueError as error:
        raise UserError(f"--target '{text}': {number} is no number; write one of {usual}") from error
    if not 0 <= limit <= 1:
        raise UserError(f"--target '{text}': {number}{percent} is no share from 0 to 1")
    return Target(name, limit)


def choose_rejection(target: Target, targets: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """Return, for one label an image, the probability that an answer of each class must reach to be accepted.

    A class that no image was answered with takes the threshold that fits all answers together; for 'miss', whose thresholds hang
    together, it takes 0.

    Args:
        target: the promise.
        targets: class indices (N,).
        probabilities: (N, C).
    """
    found, confidence = probabilities.argmax(1), probabilities.max(1)
    if target.name == "miss":
        return _limit_misses(target.limit, targets, found, confidence, probabilities.shape[1])
    right = found == targets
    choose = _limit_error if target.name == "error" else _keep_coverage
    together = choose(target.limit, right, confidence)
    classes = (found == number for number in range(probabilities.shape[1]))
    return tuple(choose(target.limit, right[own], confidence[own]) if own.any() else together for own in classes)


def choose_thresholds(target: Target, truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, ...]:
    """Return, for several labels an image, the probability from which on each label is named.

    Args:
        target: the promise, 'error' or 'miss'.
        truth: bool (N, C).
        probabilities: (N, C).
    """
    assert target.name in ("error", "miss"), target.name
    columns = zip(truth.T, probabilities.T, strict=True)
    if target.name == "error":
        return tuple(_limit_error(target.limit, own, shares) if own.any() else 0.5 for own, shares in columns)
    return tuple(_find_most(target.limit, own, shares) if own.any() else 0.5 for own, shares in columns)


def _limit_error(limit: float, right: np.ndarray, confidence: np.ndarray) -> float:
    """Return the lowest threshold at which at most this share of the answers above it is wrong."""
    ranked, ends = _ranked(confidence)
    wrong = np.cumsum(~right[np.argsort(-confidence, kind="stable")])[ends]
    kept = np.flatnonzero(wrong <= limit * (ends + 1) + 1e-9)
    return _below(ranked, int(ends[kept[-1]])) if len(kept) else NEVER


def _keep_coverage(limit: float, right: np.ndarray, confidence: np.ndarray) -> float:
    """Return the highest threshold that keeps at least this share of the answers."""
    del right
    ranked, ends = _ranked(confidence)
    kept = np.flatnonzero(ends + 1 >= limit * len(ranked) - 1e-9)
    return _below(ranked, int(ends[kept[0]]))


def _find_most(limit: float, truth: np.ndarray, shares: np.ndarray) -> float:
    """Return the highest threshold below which at most this share of the images with the label lies."""
    ranked, ends = _ranked(shares)
    hits = np.cumsum(truth[np.argsort(-shares, kind="stable")])[ends]
    kept = np.flatnonzero(truth.sum() - hits <= limit * truth.sum() + 1e-9)
    return _below(ranked, int(ends[kept[0]]))


def _limit_misses(limit: float, targets: np.ndarray, found: np.ndarray, confidence: np.ndarray, count: int) -> tuple[float, ...]:
    """Return thresholds at which at most this share of the images of every class is accepted as another class.

    Wrong answers are rejected one after another, each time the one that takes the fewest right ones with it.
    """
    thresholds = np.zeros(count)
    allowed = limit * np.bincount(targets, minlength=count) + 1e-9
    answers = [np.sort(confidence[found == number]) for number in range(count)]
    right = [np.sort(confidence[(found == number) & (targets == number)]) for number in range(count)]
    wrong = np.flatnonzero(found != targets)
    wrong = wrong[np.argsort(confidence[wrong], kind="stable")]
    while True:
        wrong = wrong[confidence[wrong] >= thresholds[found[wrong]]]
        over = np.bincount(targets[wrong], minlength=count) > allowed
        candidates = wrong[over[targets[wrong]]]
        if not len(candidates):
            return tuple(thresholds.tolist())
        # In every class the least sure of them, which takes the fewest along.
        candidates = candidates[np.unique(found[candidates], return_index=True)[1]]
        costs = [
            _between_count(right[found[each]], float(thresholds[found[each]]), float(confidence[each])) for each in candidates.tolist()
        ]
        worst = int(candidates[int(np.argmin(costs))])
        above = answers[found[worst]]
        above = above[np.searchsorted(above, confidence[worst], "right") :]
        thresholds[found[worst]] = _between(float(confidence[worst]), float(above[0])) if len(above) else NEVER


def _between_count(ranked: np.ndarray, low: float, high: float) -> int:
    """Return how many of the rising values lie from `low` to `high`."""
    return int(np.searchsorted(ranked, high, "right") - np.searchsorted(ranked, low, "left"))


def _ranked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return falling values, and the positions after which a smaller one follows: equal values are taken together or not at all."""
    ranked = np.sort(values)[::-1]
    return ranked, np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))


def _below(ranked: np.ndarray, last: int) -> float:
    """Return a threshold that the values up to position `last` reach, and the next one does not; 0 where all do."""
    return 0.0 if last + 1 == len(ranked) else _between(float(ranked[last + 1]), float(ranked[last]))


def _between(low: float, high: float) -> float:
    """Return a float32 above `low`, and at most `high`: halfway, so that rounding moves no image across."""
    middle = float(np.float32((low + high) / 2))
    return middle if low < middle else high


@dataclass(frozen=True)
class Kept:
    """What thresholds do to the answers of one class.

    Attributes:
        coverage: accepted share of the answers of this class; nan without any.
        error: wrong share of those accepted; nan without any.
        miss: share of the images of this class that are accepted as another; nan without any.
    """

    coverage: float
    error: float
    miss: float


def measure_rejection(thresholds: Sequence[float], targets: np.ndarray, probabilities: np.ndarray) -> list[Kept]:
    """Return what rejection thresholds (C,) do, a class each and then all together, for targets (N,) and probabilities (N, C)."""
    found, confidence = probabilities.argmax(1), probabilities.max(1)
    accepted = confidence >= np.asarray(thresholds)[found]
    wrong = accepted & (found != targets)
    groups = [(found == number, targets == number) for number in range(probabilities.shape[1])]
    everything = np.ones(len(targets), dtype=bool)
    return [
        Kept(_share(accepted[answered]), _share(wrong[answered & accepted]), _share(wrong[members]))
        for answered, members in [*groups, (everything, everything)]
    ]


def broken_by(
    target: Target, thresholds: Sequence[float], targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Return class -> share, the worst first, of the classes for which thresholds (C,) do not keep the target on these images.

    Args:
        target: the promise.
        thresholds: of rejection, for class indices; of naming, for several labels.
        targets: class indices (N,), or labels (N, C).
        probabilities: (N, C).
        classes: names.
    """
    if targets.ndim == 1:
        shares = [getattr(kept, target.name) for kept in measure_rejection(thresholds, targets, probabilities)[:-1]]
    else:
        pairs = zip((targets >= 0.5).T, (probabilities >= np.asarray(thresholds)).T, strict=True)
        shares = [_share(~truth[named]) if target.name == "error" else _share(~named[truth]) for truth, named in pairs]
    sign = -1 if TARGETS[target.name][0] == ">=" else 1
    over = {name: share for name, share in zip(classes, shares, strict=True) if sign * (share - target.limit) > 1e-9}
    return dict(sorted(over.items(), key=lambda item: -sign * item[1]))


def describe_broken(target: str, broken: Mapping[str, float], classes: int) -> str:
    """Return in words for which of so many classes a target, in the user's words, is not kept."""
    shown = ", ".join(f"{name} ({share:.1%})" for name, share in list(broken.items())[:BROKEN_SHOWN])
    more = f" and {len(broken) - BROKEN_SHOWN} more" if len(broken) > BROKEN_SHOWN else ""
    return f"{target} is not kept on these images for {len(broken)} of {classes} classes: {shown}{more}"


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
