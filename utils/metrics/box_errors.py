"""Why answered boxes are wrong, and how much average precision each reason costs.

Bolya et al.: TIDE: A General Toolbox for Identifying Object Detection Errors (arXiv 2008.08115), sections 2.2 and 2.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from utils.metrics.average_precision import by_class, interpolated
from utils.metrics.box_matching import AnsweredBoxes, Matches, TrueBoxes, match_boxes
from utils.metrics.box_overlap import overlapping_pairs

# Overlap of an answer that finds a truth, and of one that means it.
FOREGROUND, BACKGROUND = 0.5, 0.1
# Kinds of wrong answers, in the order in which they are tried, and truths that no answer means.
KINDS = ("Loc", "Cls", "Dupe", "Bkg", "Both")
MISS = "Miss"
MEANINGS: Mapping[str, str] = {
    "Cls": "at the right place, with the class of something else",
    "Loc": "of the right class, but loose: it overlaps the object by 10% to 50%",
    "Both": "loose, and with the class of something else",
    "Dupe": "a second box around an object that is found",
    "Bkg": "where no object is",
    "Miss": "an object that no answer means",
}


@dataclass(frozen=True)
class BoxErrors:
    """The kinds of all answers and truths.

    Attributes:
        matches: at an overlap of FOREGROUND.
        kinds: of each answer of `matches`: a number of KINDS, -1 where it is right or counts for nothing, int64 (N,).
        meant: row of the truth that a wrong class or a loose box means, -1 for none, int64 (N,).
        missed: whether each truth is found by no answer, nor meant by a loose box or one of another class, bool (M,).
    """

    matches: Matches
    kinds: np.ndarray
    meant: np.ndarray
    missed: np.ndarray

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        found = {name: int((self.kinds == number).sum()) for number, name in enumerate(KINDS)}
        return {name: found.get(name, int(self.missed.sum())) for name in MEANINGS}


def find_errors(truths: TrueBoxes, answers: AnsweredBoxes) -> BoxErrors:
    """Return why answers are wrong."""
    matches = match_boxes(truths, answers, np.array([FOREGROUND]))
    truths, answers = matches.truths, matches.answers
    by_image = np.argsort(truths.images, kind="stable")
    placed = truths.rows(by_image)
    pairs = overlapping_pairs(answers.corners, answers.images, placed.corners, placed.images, placed.crowd, BACKGROUND)
    columns = by_image[pairs.truths]
    real = ~truths.crowd[columns]
    rows, columns, overlaps = pairs.answers[real], columns[real], pairs.overlaps[real]
    alike = answers.classes[rows] == truths.classes[columns]
    own, own_truth = _best(rows[alike], columns[alike], overlaps[alike], len(answers.scores))
    other, other_truth = _best(rows[~alike], columns[~alike], overlaps[~alike], len(answers.scores))
    is_kind = {
        "Loc": (own >= BACKGROUND) & (own < FOREGROUND),
        "Cls": other >= FOREGROUND,
        "Dupe": own >= FOREGROUND,
        "Bkg": np.maximum(own, other) < BACKGROUND,
        "Both": np.ones(len(own), bool),
    }
    kinds = np.select([is_kind[name] for name in KINDS], list(range(len(KINDS))), -1)
    hits = matches.hits[0, 0]
    kinds[hits | matches.ignored[0, 0]] = -1
    meant = np.where(kinds == KINDS.index("Loc"), own_truth, np.where(kinds == KINDS.index("Cls"), other_truth, -1))
    missed = ~truths.crowd
    missed[matches.found[0][hits]] = False
    missed[meant[meant >= 0]] = False
    return BoxErrors(matches, kinds, meant, missed)


def _best(rows: np.ndarray, columns: np.ndarray, overlaps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest overlap of each answer and the truth that it is with, 0 and -1 for none: (N,) each."""
    order = np.argsort(overlaps, kind="stable")
    largest, truth = np.zeros(count), np.full(count, -1)
    largest[rows[order]], truth[rows[order]] = overlaps[order], columns[order]
    return largest, truth


def costs(errors: BoxErrors, classes: int) -> dict[str, float]:
    """Return by how much the mean average precision at FOREGROUND would rise without the errors of each kind.

    A wrong class and a loose box are mended, of two boxes of one object the surer one stays; other wrong answers are dropped; missed
    objects are taken from the truth. The figures do not add up: mending one kind makes others matter more.
    """
    everything = np.ones(len(errors.kinds), bool)
    answers, hits = errors.matches.answers, errors.matches.hits[0, 0]
    found = np.where(hits, errors.matches.found[0], -1)
    totals = np.bincount(errors.matches.truths.classes[~errors.matches.truths.crowd], minlength=classes)
    if not totals.any():
        return dict.fromkeys(MEANINGS, 0.0)
    whole = _mean_ap(errors, answers.classes, found, everything, totals)
    rises = {}
    for name in MEANINGS:
        number = KINDS.index(name) if name in KINDS else None
        if name in ("Cls", "Loc"):
            mended = np.where(errors.kinds == number, errors.meant, found)
            named = np.where(mended >= 0, errors.matches.truths.classes[mended], answers.classes)
            kept = _surest(mended, answers.scores)
            value = _mean_ap(errors, named, mended, kept, totals)
        elif number is not None:
            value = _mean_ap(errors, answers.classes, found, errors.kinds != number, totals)
        else:
            lost = np.bincount(errors.matches.truths.classes[errors.missed], minlength=classes)
            value = _mean_ap(errors, answers.classes, found, everything, totals - lost)
        rises[name] = value - whole
    return rises


def _surest(found: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which answers stay, (N,): of those that find one truth, the surest; all that find none."""
    order = np.argsort(-scores, kind="stable")
    order = order[found[order] >= 0]
    kept = found < 0
    kept[order[np.unique(found[order], return_index=True)[1]]] = True
    return kept


def _mean_ap(errors: BoxErrors, classes: np.ndarray, found: np.ndarray, kept: np.ndarray, totals: np.ndarray) -> float:
    """Return the mean average precision of answers of these classes that find these truths; of classes that have truths."""
    rows = np.flatnonzero(kept & ~errors.matches.ignored[0, 0])
    rows = rows[np.lexsort((rows, -errors.matches.answers.scores[rows], classes[rows]))]
    values = [
        float(interpolated(found[rows[own]] >= 0, np.zeros(own.stop - own.start, bool), total).mean())
        for own, total in zip(by_class(classes[rows], len(totals)), totals.tolist(), strict=True)
        if total
    ]
    return float(np.mean(values)) if values else 0.0
