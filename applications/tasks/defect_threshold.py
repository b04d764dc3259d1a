"""From which score on an image counts as defective, chosen without the test images.

By good images alone: so many of them may reach the threshold that, but for a risk of 5%, no more than the promised share of good images to
come does (an order statistic as tolerance limit: Wilks, Determination of Sample Sizes for Setting Tolerance Limits, 1941; the exact
binomial bound of Clopper and Pearson, 1934). By held-out defects, where there are some: the largest F1.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from utils.errors import UserError
from utils.metrics.risk_control import RISK, between, fewest, most_failures

# The promise that is made unasked, where the images are enough for it.
USUAL_LIMIT = 0.05
NAME = "false_alarm"
USAGE = f"'{NAME}<=0.05'"


@dataclass(frozen=True)
class DefectThreshold:
    """A threshold and what stands behind it.

    Attributes:
        value: a score from it on means a defect.
        basis: 'good' images alone, or 'defects' too; 'file' where an exported file tells the value alone.
        limit: largest share of good images that reach it, at 95% confidence; None where it is not promised.
        images: good images that it was chosen by.
        alarms: how many of them reach it.
        defects: images with defects that it was chosen by.
        groups: whether `images` and `alarms` count groups of images.
    """

    value: float
    basis: Literal["good", "defects", "file"]
    limit: float | None
    images: int
    alarms: int
    defects: int = 0
    groups: bool = False

    def describe(self) -> str:
        """Return in words what it promises, and by what."""
        if self.basis == "file":
            return f"{self.value:.4f}, as the exported file says"
        held = f"{self.images} held-out good {'groups' if self.groups else 'images'}, of which {self.alarms} reach it"
        if self.limit is None:
            return f"{self.value:.4f}, the best F1 on {held}, and {self.defects} with defects"
        return f"{self.value:.4f}: at most {self.limit:.1%} false alarms, at 95% confidence, by {held}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "DefectThreshold":
        """Return what `to_dict` wrote."""
        return DefectThreshold(**values)


def parse_promise(text: str) -> float:
    """Return the share of false alarms that a text such as 'false_alarm<=0.01' or 'false_alarm<=1%' promises.

    Raises:
        UserError: it cannot be read, or promises nothing.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*([\d.eE+-]+)\s*(%?)\s*", text)
    if match is None or match[1] != NAME or match[2] != "<=":
        raise UserError(f"--target '{text}' cannot be read; of defects {USAGE} can be promised")
    try:
        limit = float(match[3]) / (100 if match[4] else 1)
    except ValueError as error:
        raise UserError(f"--target '{text}': {match[3]} is not a number; write {USAGE}") from error
    if not 0 < limit < 1:
        raise UserError(f"--target '{text}': no number of images proves 0, and everything keeps 1; write a share between, such as 0.05")
    return limit


def promised(scores: np.ndarray, limit: float, *, groups: bool = False) -> DefectThreshold:
    """Return the lowest threshold by which at most this share of good images to come is an alarm, at 95% confidence.

    Args:
        scores: of held-out good images, (N,); of groups of images, the largest of each.
        limit: the share.
        groups: whether they are of groups.

    Raises:
        UserError: no threshold has the support of so few images.
    """
    allowed = most_failures(len(scores), limit, RISK)
    if allowed < 0:
        what = "groups of good images" if groups else "good images"
        raise UserError(
            f"--target '{NAME}<={limit:g}': {len(scores)} held-out {what} cannot prove it at 95% confidence, {fewest(limit, RISK)} could; "
            f"they prove {provable(len(scores)):.1%} at best. Hold out more (--val_share, or val/good), or promise less"
        )
    ranked = np.sort(scores.astype(np.float64))[::-1]
    # The largest score that must not alarm.
    quiet = float(ranked[allowed])
    louder = ranked[:allowed][ranked[:allowed] > quiet]
    value = between(quiet, float(louder.min())) if len(louder) else above(quiet)
    return DefectThreshold(value, "good", limit, len(scores), int((scores >= value).sum()), groups=groups)


def usual(scores: np.ndarray, *, groups: bool = False) -> DefectThreshold:
    """Return the threshold that is chosen unasked: for USUAL_LIMIT, or the least share that so few images can prove."""
    return promised(scores, max(USUAL_LIMIT, provable(len(scores))), groups=groups)


def provable(count: int) -> float:
    """Return the least share of false alarms that so many good images can prove, when none of them is an alarm."""
    # Rounded up, so that the bound holds for it in floating point, too.
    return min(1.0, (1 - RISK ** (1 / max(1, count))) * (1 + 1e-9))


def best_f1(good: np.ndarray, bad: np.ndarray) -> DefectThreshold:
    """Return the threshold with the largest F1 for defects, halfway between two scores."""
    ranked = np.unique(np.concatenate([good, bad]).astype(np.float64))[::-1]
    hits = np.array([(bad >= each).sum() for each in ranked])
    alarms = np.array([(good >= each).sum() for each in ranked])
    place = int((2 * hits / (hits + alarms + len(bad))).argmax())
    value = between(float(ranked[place + 1]), float(ranked[place])) if place + 1 < len(ranked) else float(ranked[place])
    return DefectThreshold(value, "defects", None, len(good), int((good >= value).sum()), len(bad))


def above(score: float) -> float:
    """Return a threshold above a score, a float32, by more than the rounding of another runtime where there is room; 2 above 1."""
    if score >= 1:
        return 2.0
    nearest = np.float32(score)
    return float(max(np.float32(score + 1e-4 * (1 - score)), np.nextafter(nearest, np.float32(2))))
