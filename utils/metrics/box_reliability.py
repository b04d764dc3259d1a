"""How far the scores of answered boxes are from the share of them that finds an object.

Küppers, Kronenberger, Shantia, Haselhoff: Multivariate Confidence Calibration for Object Detection (CVPR Workshops 2020, arXiv
2004.13546), in its form that looks at the score alone.
"""

from dataclasses import dataclass

import numpy as np

from utils.metrics.box_matching import Matches
from utils.metrics.calibration import Reliability, fit_temperature, measure_reliability
from utils.metrics.calibration_interval import calibration_error_interval
from utils.metrics.statistics import Interval

NAME = "D-ECE"
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
        """Return the D-ECE with its 95% interval over images, whose boxes are not independent.

        Args:
            count: number of images, those without answers included.
            seed: of the draws.
            groups: number of the group of every image, from 0, (count,); None draws images.
        """
        units = self.images if groups is None else groups[self.images]
        number = count if groups is None else int(groups.max(initial=-1)) + 1
        return calibration_error_interval(self.scores, self.right, units, count=number, seed=seed)


def box_reliability(matches: Matches, least: float = 0.0) -> BoxReliability:
    """Return the answers of a least score or more, at the first overlap of the matches."""
    answers = matches.answers
    chosen = ~matches.ignored[0, 0] & (answers.scores >= np.asarray(least, answers.scores.dtype))
    return BoxReliability(answers.scores[chosen].astype(np.float64), matches.hits[0, 0][chosen], answers.images[chosen])


def fit_score_temperature(found: BoxReliability) -> float:
    """Return the temperature at which scores have the least cross entropy with being right; 1 without answers."""
    inside = found.scores.clip(LEAST, 1 - LEAST)
    return fit_temperature(np.log(inside / (1 - inside))[:, None], found.right[:, None].astype(np.float64), "sigmoid")
