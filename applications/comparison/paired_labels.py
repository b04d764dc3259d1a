"""The metrics of --compare: differences between models on the same images, their intervals and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from applications.comparison.label_answers import ModelAnswers
from applications.tasks.label_figures import CountedMetrics, Top, multi_label_metrics, single_label_metrics
from utils.metrics.grouped_statistics import flip_test, fully_dependent, number_groups
from utils.metrics.statistics import Interval, bootstrap, holm, wilson
from utils.text import counted

SIGNIFICANT = 0.05
# The metrics that the test is about.
OF_THE_TEST = ("top1", "all labels right")
RESAMPLES = 600
# Not the "loss" of an evaluation, which is measured before calibration.
LOSS = "calibrated loss"


@dataclass(frozen=True, eq=False)
class Pair:
    """A model compared with the first one.

    Attributes:
        other: the model.
        differences: its metrics minus those of the first, with paired bootstrap intervals.
        gained: images that only it answers rightly, (G,).
        lost: images that only the first answers rightly, (L,).
        p: of McNemar's test, or of `flip_test` over groups, adjusted for the number of comparisons.
        comparisons: that number.
        groups: number of groups that the images come in, over which intervals and test are computed; None where images are independent.
    """

    other: ModelAnswers
    differences: Mapping[str, Interval]
    gained: np.ndarray
    lost: np.ndarray
    p: float
    comparisons: int = 1
    groups: int | None = None

    def verdict(self) -> str:
        """Return the verdict."""
        if self.p >= SIGNIFICANT:
            return "no significant difference"
        return "better" if len(self.gained) > len(self.lost) else "worse"

    def odds(self, headline: str) -> str:
        """Return a clause on why verdict and interval of the headline metric disagree; '' where they agree."""
        interval, doubtful = self.differences[headline], self.p >= SIGNIFICANT
        if doubtful == (interval.low <= 0 <= interval.high):
            return ""
        number = len(self.gained) + len(self.lost)
        if headline not in OF_THE_TEST:
            decisive = f"the test, which decides, counts the {number} images that only one of the two answers rightly in all labels"
            return f"; the interval of {headline} {'excludes' if doubtful else 'includes'} 0, but {decisive}"
        if not doubtful:
            return "; the interval includes 0, but the exact test decides"
        adjusted = f", adjusted for {self.comparisons} comparisons," if self.comparisons > 1 else ""
        return f"; the interval alone excludes 0, but the exact test{adjusted} is stricter and decides"


def named_apart(models: Sequence[ModelAnswers]) -> list[ModelAnswers]:
    """Return the models with distinct names: their sources where short names are equal."""
    names = [model.name for model in models]
    apart = [model if names.count(model.name) == 1 else replace(model, name=model.source) for model in models]
    sources = [model.name for model in apart]
    return [
        model if sources.count(model.name) == 1 else replace(model, name=f"{model.name} ({number})")
        for number, model in enumerate(apart, 1)
    ]


def counted_metrics(model: ModelAnswers) -> CountedMetrics:
    """Return a function: how often each image is counted, int (N,) -> the model's headline metrics."""
    shares = model.probabilities
    if model.multi_label:
        of = multi_label_metrics(shares, model.truth, model.named, model.losses())
    else:
        of = single_label_metrics(model.truth.argmax(1), shares, model.losses(), Top(shares.argmax(1), shares.max(1)))
    return lambda counts: {LOSS if name == "loss" else name: value for name, value in of(counts).items()}


def compare(models: Sequence[ModelAnswers], *, seed: int) -> list[Pair]:
    """Return each other model compared with the first; all have been `aligned` with it."""
    first, *others = models
    flips = [(np.flatnonzero(other.right & ~first.right), np.flatnonzero(first.right & ~other.right)) for other in others]
    groups = next((number_groups(model.groups) for model in models if model.groups), None)
    adjusted = holm([flip_test(gained, lost, groups) for gained, lost in flips])

    of_first = counted_metrics(first)

    def differences(other: ModelAnswers) -> CountedMetrics:
        of_other = counted_metrics(other)

        def change(counts: np.ndarray) -> dict[str, float]:
            mine, theirs = of_first(counts), of_other(counts)
            return {name: theirs[name] - mine[name] for name in mine}

        return change

    count, pairs = len(first.files), []
    among, separate = (None, float(count)) if groups is None else (int(groups.max()) + 1, fully_dependent(groups))
    for other, (gained, lost), p in zip(others, flips, adjusted, strict=True):
        found = bootstrap(differences(other), count, seed=seed, resamples=RESAMPLES, groups=groups)
        if not len(gained) and not len(lost):
            # Without a flipped image the bootstrap interval has width zero; use Wilson's instead.
            most = wilson(0, separate).high
            found |= {name: Interval(0.0, -most, most) for name in OF_THE_TEST if name in found}
        pairs.append(Pair(other, found, gained, lost, p, len(others), among))
    return pairs


def sentence(first: ModelAnswers, pair: Pair, headline: str) -> str:
    """Return the verdict of a comparison with the difference in the headline metric."""
    change = pair.differences[headline]
    points = f"{headline} {100 * change.value:+.2f} points ({100 * change.low:+.2f} to {100 * change.high:+.2f}), p = {pair.p:.3g}"
    if pair.groups is not None:
        points += f", over {counted(pair.groups, 'group')}"
    if pair.p >= SIGNIFICANT:
        return f"no significant difference between {first.name} and {pair.other.name}: {points}{pair.odds(headline)}"
    return f"{pair.other.name} is {pair.verdict()} than {first.name}: {points}{pair.odds(headline)}"


def recalls(model: ModelAnswers) -> np.ndarray:
    """Return the recall of every class, (C,); nan without images."""
    counts = model.truth.sum(0)
    return np.where(counts > 0, (model.truth & model.named).sum(0) / np.maximum(counts, 1), np.nan)


def class_rows(first: ModelAnswers, pairs: Sequence[Pair]) -> list[list[str]]:
    """Return, for every model and class, the recall of both, and the images that were gained and lost, below a header."""
    rows = [["model", "class", "images", "recall of the first", "recall", "points", "gained", "lost"]]
    mine = recalls(first)
    for pair in pairs:
        theirs = recalls(pair.other)
        for number, name in enumerate(first.classes):
            members = first.truth[:, number]
            gained, lost = (int(members[flips].sum()) for flips in (pair.gained, pair.lost))
            tested = bool(members.any())
            shown = [f"{value:.4f}" if tested else "" for value in (mine[number], theirs[number])]
            points = f"{100 * (theirs[number] - mine[number]):+.2f}" if tested else ""
            rows.append([pair.other.name, name, str(members.sum()), *shown, points, str(gained), str(lost)])
    return rows


def names_of(model: ModelAnswers, flags: np.ndarray) -> str:
    """Return the names of the classes that are flagged, bool (C,)."""
    return ", ".join(model.classes[number] for number in np.flatnonzero(flags)) or "nothing"
