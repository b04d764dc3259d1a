"""How well maps of scores show defects: pixel AUROC and the per-region overlap, from counts that do not grow with the images.

Per-region overlap: Bergmann et al., MVTec AD (CVPR 2019): at a threshold, the mean over all connected defects of the share that is found,
so that a small defect counts as much as a large one; its area over false-positive rates up to a limit, divided by the limit.
"""

from dataclasses import dataclass, field

import numpy as np

from dataloader.targets.mask import IGNORE

# Scores in [0, 1] are counted in bins: fine ones for the figures, coarse ones of each image for intervals.
FINE = 2**18
COARSE = 2**9
# Largest false-positive rate of the per-region overlap.
LIMIT = 0.3


@dataclass(eq=False)
class PixelCounts:
    """Pixels by score, in bins from 0 to 1.

    Attributes:
        good: number of pixels without defect, (B,).
        bad: number of pixels of defects, (B,).
        overlap: over connected defects, the sum of the shares of their pixels, (B,).
        regions: number of connected defects.
    """

    good: np.ndarray
    bad: np.ndarray
    overlap: np.ndarray
    regions: int = 0

    @staticmethod
    def empty(bins: int) -> "PixelCounts":
        """Return counts of nothing."""
        return PixelCounts(np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.zeros(bins))

    def add(self, other: "PixelCounts") -> None:
        """Add counts with as many bins."""
        self.good += other.good
        self.bad += other.bad
        self.overlap += other.overlap
        self.regions += other.regions

    def auroc(self) -> float:
        """Return the area under the ROC curve of pixels; nan unless there are pixels of both kinds."""
        return area_under_roc(self.good, self.bad)

    def aupro(self, limit: float = LIMIT) -> float:
        """Return the area under the curve of per-region overlap up to a false-positive rate, divided by it; nan without defects."""
        if not self.regions or not self.good.sum():
            return float("nan")
        rate, found = (
            np.concatenate([[0.0], counts[::-1].cumsum()]) for counts in (self.good / self.good.sum(), self.overlap / self.regions)
        )
        inside = int(np.searchsorted(rate, limit, "right"))
        rates, overlaps = rate[:inside], found[:inside]
        if inside < len(rate):
            part = (limit - rate[inside - 1]) / (rate[inside] - rate[inside - 1])
            rates = np.append(rates, limit)
            overlaps = np.append(overlaps, found[inside - 1] + part * (found[inside] - found[inside - 1]))
        return float(np.trapezoid(overlaps, rates) / limit)


def area_under_roc(good: np.ndarray, bad: np.ndarray) -> float:
    """Return the probability that a bad one scores above a good one, ties counting half, from numbers by rising score, (B,)."""
    if not good.sum() or not bad.sum():
        return float("nan")
    below = good.cumsum() - good / 2
    return float((bad * below).sum() / (float(good.sum()) * float(bad.sum())))


def bins_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each score in [0, 1], int64."""
    return np.minimum((scores.astype(np.float64) * bins).astype(np.int64), bins - 1)


def count_pixels(scores: np.ndarray, mask: np.ndarray, bins: int) -> PixelCounts:
    """Return the counts of one image.

    Args:
        scores: (H, W) in [0, 1].
        mask: uint8 (H, W): 1 for defects, 0, or IGNORE for what is not counted.
        bins: how many.
    """
    import cv2

    places, counts = bins_of(scores, bins), PixelCounts.empty(bins)
    counts.good = np.bincount(places[mask == 0], minlength=bins)
    defect = mask == 1
    if not defect.any():
        return counts
    counts.bad = np.bincount(places[defect], minlength=bins)
    # Pixels that touch at a corner belong together, as in the published evaluation.
    regions, numbers = cv2.connectedComponents(defect.astype(np.uint8), connectivity=8)
    sizes = np.bincount(numbers[defect], minlength=regions)
    counts.overlap = np.bincount(places[defect], 1 / sizes[numbers[defect]], minlength=bins)
    counts.regions = regions - 1
    return counts


@dataclass(eq=False)
class PixelMeter:
    """Pixels of all images by the kind of defect, and coarsely of each image.

    Attributes:
        kinds: kind -> fine counts of its images.
        images: position of an image -> its coarse counts.
    """

    kinds: dict[str, PixelCounts] = field(default_factory=dict)
    images: dict[int, PixelCounts] = field(default_factory=dict)

    def add(self, index: int, kind: str, scores: np.ndarray, mask: np.ndarray) -> None:
        """Count an image; one whose defect nobody has marked tells nothing of pixels."""
        if (mask == IGNORE).all():
            return
        self.kinds.setdefault(kind, PixelCounts.empty(FINE)).add(count_pixels(scores, mask, FINE))
        self.images[index] = count_pixels(scores, mask, COARSE)

    def merge(self, other: "PixelMeter") -> None:
        """Add what another process has counted."""
        for kind, counts in other.kinds.items():
            self.kinds.setdefault(kind, PixelCounts.empty(FINE)).add(counts)
        self.images |= other.images

    def of(self, *kinds: str) -> PixelCounts:
        """Return the fine counts of some kinds together."""
        total = PixelCounts.empty(FINE)
        for kind in kinds:
            if kind in self.kinds:
                total.add(self.kinds[kind])
        return total
