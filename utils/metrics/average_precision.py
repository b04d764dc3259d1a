"""COCO's figures of boxes: average precision and recall, over all images or over images that count several times.

Lin et al.: arXiv 1405.0312; pycocotools gives the same numbers (tests/utils/metrics/test_average_precision.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from utils.metrics.box_matching import AREAS, MOST, THRESHOLDS, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
# Answers of an image and a class that the three figures of recall look at.
RECALL_LIMITS = (1, 10, MOST)
# Stands where there is no truth that could be found.
NOTHING = -1.0


@dataclass(frozen=True)
class CocoFigures:
    """What COCO's evaluation computes, by class (C) and range of areas (A); -1 where no truth counts.

    Attributes:
        precision: at every overlap, recall, class and area, (T, 101, C, A).
        recall: at every overlap, class, area and limit of answers, (T, C, A, 3).
    """

    precision: np.ndarray
    recall: np.ndarray

    def ap(self, threshold: int | None = None, area: str = "all") -> np.ndarray:
        """Return the average precision of every class, (C,), at one overlap or over all of them; -1 where the class has no truth."""
        chosen = self.precision[..., list(AREAS).index(area)]
        chosen = chosen if threshold is None else chosen[threshold : threshold + 1]
        return chosen.mean((0, 1))

    def ar(self, area: str = "all", limit: int = MOST) -> np.ndarray:
        """Return the average recall of every class, (C,)."""
        return self.recall[:, :, list(AREAS).index(area), RECALL_LIMITS.index(limit)].mean(0)

    @cached_property
    def summary(self) -> Mapping[str, float]:
        """The twelve figures of COCO, -1 where there is nothing to find."""
        at = {round(float(value), 2): number for number, value in enumerate(THRESHOLDS)}
        found = {"AP": _mean(self.ap()), "AP50": _mean(self.ap(at[0.5])), "AP75": _mean(self.ap(at[0.75]))}
        found |= {f"AP_{area}": _mean(self.ap(area=area)) for area in list(AREAS)[1:]}
        found |= {f"AR{limit}": _mean(self.ar(limit=limit)) for limit in RECALL_LIMITS}
        return found | {f"AR_{area}": _mean(self.ar(area=area)) for area in list(AREAS)[1:]}


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that say something; -1 where none does."""
    told = values[values > NOTHING]
    return float(told.mean()) if len(told) else NOTHING


def coco_figures(matches: Matches, classes: int) -> CocoFigures:
    """Return the figures of all images."""
    overlaps = matches.hits.shape[1]
    precision = np.full((overlaps, len(RECALLS), classes, len(AREAS)), NOTHING)
    recall = np.full((overlaps, classes, len(AREAS), len(RECALL_LIMITS)), NOTHING)
    for number, (own, true) in enumerate(
        zip(by_class(matches.answers.classes, classes), by_class(matches.truths.classes, classes), strict=True)
    ):
        order = own.start + np.argsort(-matches.answers.scores[own], kind="stable")
        ranks = matches.ranks[order]
        for area in range(len(AREAS)):
            total = int((~matches.uncounted[area, true]).sum())
            if not total:
                continue
            hits, ignored = matches.hits[area][:, order], matches.ignored[area][:, order]
            precision[:, :, number, area] = [interpolated(hit, none, total) for hit, none in zip(hits, ignored, strict=True)]
            for place, limit in enumerate(RECALL_LIMITS):
                recall[:, number, area, place] = hits[:, ranks < limit].sum(1) / total
    return CocoFigures(precision, recall)


def by_class(classes: np.ndarray, count: int) -> list[slice]:
    """Return where each class lies in ascending class numbers."""
    edges = np.searchsorted(classes, np.arange(count + 1))
    return [slice(start, stop) for start, stop in pairwise(edges.tolist())]


def interpolated(hits: np.ndarray, ignored: np.ndarray, total: float, times: np.ndarray | None = None) -> np.ndarray:
    """Return the precision that is reached at each recall of RECALLS or beyond, (101,); only hits can raise it.

    Args:
        hits: of answers by falling score, bool (N,).
        ignored: bool (N,).
        total: truths that count.
        times: how often each answer counts, (N,); None counts each once.
    """
    places = np.flatnonzero(hits)
    counted = ~ignored if times is None else times * ~ignored
    found = np.arange(1, len(places) + 1) if times is None else times[places].cumsum()
    said = counted.cumsum()[places]
    return reached(found, said, total)


def reached(found: np.ndarray, said: np.ndarray, total: float) -> np.ndarray:
    """Return the precision (101,) by the sums up to each hit: of hits, and of answers that count."""
    precision = np.maximum.accumulate((found / (said + np.spacing(1)))[::-1])[::-1]
    places = np.searchsorted(found / total, RECALLS, side="left")
    values = np.zeros(len(RECALLS))
    inside = places < len(found)
    values[inside] = precision[places[inside]]
    return values
