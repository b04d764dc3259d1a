"""What the thresholds of a --target do to answers, in numbers and in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from applications.calibration.promises import CONFIDENCE, Promise, Support, ThresholdChoice
from utils.errors import UserError
from utils.metrics.risk_control import RISK
from utils.text import counted, two_digits

NAMES_SHOWN = 5
# Target -> (what is counted, what a failure is called), for messages.
COUNTED = {"error": ("accepted", "wrong"), "miss": ("images", "missed"), "coverage": ("answers", "rejected")}


@dataclass(frozen=True)
class RejectionOutcome:
    """What thresholds do to the answers of one class.

    Attributes:
        coverage: accepted share of the answers of this class; nan without any.
        error: wrong share of those accepted; nan without any.
        miss: share of the images of this class that are accepted as another; nan without any.
    """

    coverage: float
    error: float
    miss: float


class Answers(NamedTuple):
    """The answers (N,) to images of one label: the class, whether it is accepted, and whether it is accepted though wrong."""

    found: np.ndarray
    accepted: np.ndarray
    wrong: np.ndarray


def judge(thresholds: Sequence[float] | np.ndarray, targets: np.ndarray, probabilities: np.ndarray) -> Answers:
    """Return the answers under rejection thresholds (C,), for targets (N,) and probabilities (N, C)."""
    found = probabilities.argmax(1)
    accepted = probabilities.max(1) >= np.asarray(thresholds)[found]
    return Answers(found, accepted, accepted & (found != targets))


def measure_rejection(thresholds: Sequence[float], targets: np.ndarray, probabilities: np.ndarray) -> list[RejectionOutcome]:
    """Return the outcome of rejection thresholds, for each class and then for all together, for targets (N,) and probabilities (N, C)."""
    found, accepted, wrong = judge(thresholds, targets, probabilities)
    groups = [(found == number, targets == number) for number in range(probabilities.shape[1])]
    everything = np.ones(len(targets), dtype=bool)
    return [
        RejectionOutcome(_share(accepted[answered]), _share(wrong[answered & accepted]), _share(wrong[members]))
        for answered, members in [*groups, (everything, everything)]
    ]


def count_failures(
    promise: Promise, members: Sequence[int], thresholds: Sequence[float], targets: np.ndarray, probabilities: np.ndarray
) -> tuple[int, int]:
    """Return how many images fail the promise in a group of classes, and how many are counted.

    Args:
        promise: what was to be guaranteed.
        members: the classes.
        thresholds: below which an answer is rejected (class indices), or from which on a label is named (several labels).
        targets: class indices (N,), or labels (N, C).
        probabilities: (N, C).
    """
    return _counter(promise, thresholds, targets, probabilities)(members)


def _counter(
    promise: Promise, thresholds: Sequence[float], targets: np.ndarray, probabilities: np.ndarray
) -> Callable[[Sequence[int]], tuple[int, int]]:
    """Return `count_failures` of a group, with what all groups share computed once."""
    if targets.ndim == 2:
        truth, named = targets >= 0.5, probabilities >= np.asarray(thresholds)
        about, fails = (named, named & ~truth) if promise.name == "error" else (truth, truth & ~named)
        return lambda members: (int(fails[:, list(members)].any(1).sum()), int(about[:, list(members)].any(1).sum()))
    found, accepted, wrong = judge(thresholds, targets, probabilities)

    def of(members: Sequence[int]) -> tuple[int, int]:
        own = list(members)
        answered = np.isin(found, own)
        if promise.name == "coverage":
            return int((answered & ~accepted).sum()), int(answered.sum())
        if promise.name == "error":
            return int((answered & wrong).sum()), int((answered & accepted).sum())
        return int((np.isin(targets, own) & wrong).sum()), int(np.isin(targets, own).sum())

    return of


def kept_together(promise: Promise, answers: Answers) -> dict[str, float]:
    """Return the shares that a promise is about, over all answers of one label together: name -> share."""
    found = {"accepted": _share(answers.accepted)}
    if promise.name == "miss":
        return found | {"accepted as another class": _share(answers.wrong)}
    return found | {"wrong of those": _share(answers.wrong[answers.accepted])}


def named_together(promise: Promise, truth: np.ndarray, named: np.ndarray) -> dict[str, float]:
    """Return the share that a promise is about, over all labels together, bool (N, C): name -> share."""
    return {"wrong of the names": _share(~truth[named])} if promise.name == "error" else {"missed of the labels": _share(~named[truth])}


def broken_by(
    promise: Promise, choice: ThresholdChoice, targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Return group of classes -> share, the worst first, where the promise is not kept on these images by more than chance.

    A share beyond the limit alone proves nothing: among few images, one failure too many is chance. A group is returned when so many
    failures would have a probability below RISK, divided by the number of groups (Bonferroni), at the limit.

    Args:
        promise: what was to be guaranteed.
        choice: its thresholds.
        targets: class indices (N,), or labels (N, C).
        probabilities: (N, C).
        classes: names.
    """
    from scipy.stats import binom

    coverage = promise.name == "coverage"
    over, counts = {}, _counter(promise, choice.thresholds, targets, probabilities)
    for group in choice.groups:
        failures, count = counts(group.members)
        limit = 1 - promise.limit if coverage else promise.limit
        if count and binom.sf(failures - 1, count, limit) < RISK / len(choice.groups):
            over[name_group(group.members, classes)] = 1 - failures / count if coverage else failures / count
    return dict(sorted(over.items(), key=lambda item: item[1] if coverage else -item[1]))


def name_group(members: Sequence[int], classes: Sequence[str]) -> str:
    """Return the names of some classes, the first few of many."""
    if len(members) == len(classes) > NAMES_SHOWN:
        return f"all {len(classes)} classes together"
    more = f" and {len(members) - NAMES_SHOWN} more" if len(members) > NAMES_SHOWN else ""
    return ", ".join(classes[number] for number in members[:NAMES_SHOWN]) + more + (" together" if len(members) > 1 else "")


def describe_broken(promise: str, broken: Mapping[str, float], groups: int) -> str:
    """Return a sentence on the groups of classes for which `promise`, as the user wrote it, is not kept."""
    shown = "; ".join(f"{name} ({share:.1%})" for name, share in list(broken.items())[:NAMES_SHOWN])
    more = f" and {len(broken) - NAMES_SHOWN} more" if len(broken) > NAMES_SHOWN else ""
    of = "" if groups == 1 else f" for {len(broken)} of {groups} groups of classes"
    return f"{promise} is not kept on these images{of}, by more than chance explains: {shown}{more}"


def describe_choice(promise: Promise, choice: ThresholdChoice, classes: Sequence[str]) -> str:
    """Return in words the validation images behind a guarantee."""
    about, failing = COUNTED[promise.name]
    said = [
        f"{name_group(group.members, classes)} ({group.count:,} {about}, {group.failures:,} {failing})"
        for group in choice.groups
        if group.wanted is None
    ]
    more = f"; and {len(said) - NAMES_SHOWN} more groups" if len(said) > NAMES_SHOWN else ""
    return (
        f"{promise} at {CONFIDENCE:.0%} confidence, by {_images(choice)}"
        f"{'' if choice.image_groups is None else ', one of each counted'}: {'; '.join(said[:NAMES_SHOWN])}{more}"
    )


def _images(choice: ThresholdChoice) -> str:
    within = "" if choice.image_groups is None else f" in {counted(choice.image_groups, 'group')}"
    return counted(choice.images, "validation image") + within


def support_rows(promise: Promise, choice: ThresholdChoice, classes: Sequence[str]) -> list[list[str]]:
    """Return, for every group of classes, how many validation images were counted, and how many of them fail, below a header."""
    rows = [
        [name_group(group.members, classes), *((f"{group.count:,}", f"{group.failures:,}") if group.wanted is None else ("none", "-"))]
        for group in choice.groups
    ]
    return [["the promise is made for", *(f"{name} on val" for name in COUNTED[promise.name])], *rows]


def describe_unmet(choice: ThresholdChoice, classes: Sequence[str], *, multi_label: bool) -> str:
    """Return in words for which classes no threshold gives the guarantee, and how many images would be enough; '' where all have one."""
    if not choice.unmet and not choice.is_empty:
        return ""
    whole = choice.is_empty
    groups = sorted(choice.unmet, key=lambda group: group.wanted or 0.0)
    what = "nothing can be " + ("promised" if multi_label else "accepted") + " at this limit"
    which = "" if whole else " for " + "; ".join(name_group(group.members, classes) for group in groups[:NAMES_SHOWN])
    which += f" and {len(groups) - NAMES_SHOWN} more groups" if not whole and len(groups) > NAMES_SHOWN else ""
    return f"{what}{which} with {_images(choice)}; {_remedy(groups, 'groups ' if choice.image_groups is not None else '')}"


def _remedy(groups: Sequence[Support], unit: str) -> str:
    wanted = groups[0].wanted if groups else None
    if wanted is None or not np.isfinite(wanted):
        return "more of them would not help: even the most confident answers are wrong too often"
    return f"about {two_digits(wanted):,} {unit}would be enough"


def refuse_empty(promise: Promise, choice: ThresholdChoice, classes: Sequence[str], *, multi_label: bool) -> None:
    """Raise UserError when no class has a threshold that gives the guarantee."""
    if choice.is_empty:
        raise UserError(f"--target '{promise}': {describe_unmet(choice, classes, multi_label=multi_label)} ({CONFIDENCE:.0%} confidence)")


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
