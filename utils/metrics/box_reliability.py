"""How far the scores of answered boxes are from the share of them that finds an object.

Küppers, Kronenberger, Shantia, Haselhoff: Multivariate Confidence Calibration for Object Detection (CVPR Workshops 2020, arXiv
2004.13546), in its form that looks at the score alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from utils.metrics.box_matching import Matches
from utils.metrics.calibration import BINS, Reliability, bin_of, fit_temperature, measure_reliability
from utils.metrics.statistics import Interval, bootstrap

NAME, CHANCE = "D-ECE", "by chance"
# Scores of 0 and 1 have no finite log odds.
LEAST = 1e-6


@dataclass(frozen=True)
class BoxReliability:
    """Answered boxes, crowds and difficult objects left out.

    Attributes:
        scores: float64 (K,).
        right: whether each finds an object that it overlaps by half, bool (K,).
        images: position of the image of each, (K,).
    """

    scores: np.ndarray
    right: np.ndarray
    images: np.ndarray

    def bins(self) -> Reliability:
        """Return the bins by score; their `error` is the detection expected calibration error (D-ECE)."""
        return measure_reliability(self.scores, self.right)

    def interval(self, count: int, *, seed: int = 0, groups: np.ndarray | None = None) -> Interval:
        """Return the D-ECE with its 95% interval by a bootstrap over images, whose boxes are not independent.

        Chance alone raises the error, in a draw once more; the basic interval takes that off. It begins at 0 where the error is no larger
        than what the draws differ by from all images: calibrated scores would have as much by chance.

        Args:
            count: number of images, those without answers included.
            seed: of the draws.
            groups: number of the group of every image, from 0, (count,); None draws images.
        """
        number, gaps = bin_of(self.scores), self.scores - self.right
        of_all = np.bincount(number, gaps, BINS) / max(1, len(gaps))

        def figures(times: np.ndarray) -> Mapping[str, float]:
            drawn = times[self.images]
            of_bins = np.bincount(number, gaps * drawn, BINS) / max(1, drawn.sum())
            return {NAME: float(np.abs(of_bins).sum()), CHANCE: float(np.abs(of_bins - of_all).sum())}

        found = bootstrap(figures, count, seed=seed, raised=[NAME], groups=groups)
        error = found[NAME]
        return replace(error, low=0.0) if error.value <= found[CHANCE].high else error


def box_reliability(matches: Matches, least: float = 0.0) -> BoxReliability:
    """Return the answers of a least score or more, at the first overlap of the matches."""
    answers = matches.answers
    chosen = ~matches.ignored[0, 0] & (answers.scores >= np.asarray(least, answers.scores.dtype))
    return BoxReliability(answers.scores[chosen].astype(np.float64), matches.hits[0, 0][chosen], answers.images[chosen])


def fit_score_temperature(found: BoxReliability) -> float:
    """Return the temperature at which scores have the least cross entropy with being right; 1 without answers."""
    inside = found.scores.clip(LEAST, 1 - LEAST)
    return fit_temperature(np.log(inside / (1 - inside))[:, None], found.right[:, None].astype(np.float64), "sigmoid")
