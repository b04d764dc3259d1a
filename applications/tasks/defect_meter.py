"""Figures of anomaly detection: how well scores separate images, and maps pixels, and what the threshold makes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from applications.tasks.defect_pixels import COARSE, PixelCounts, PixelMeter, area_under_roc
from applications.tasks.moved_heat import moved_heat
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.defect import GOOD, DefectBatch
from dataloader.targets.whole_mask import WholeMasks
from utils.metrics.statistics import Interval, bootstrap, distinct_units, falling, weighted_average_precision, wilson

# Figures whose intervals are of a bootstrap.
RESAMPLED = ("AUROC", "pixel_AUROC", "AUPRO", "AP", "F1")


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """Images with their scores, in the order of the split.

    Attributes:
        indices: position of each, int64 (N,).
        scores: float64 (N,), the larger the stranger.
        kinds: names, GOOD for no defect.
    """

    indices: np.ndarray
    scores: np.ndarray
    kinds: tuple[str, ...]

    @property
    def bad(self) -> np.ndarray:
        """Whether each has a defect, bool (N,)."""
        return np.array([kind != GOOD for kind in self.kinds], dtype=bool)

    def of(self, kind: str) -> np.ndarray:
        """Return the scores of the images of a kind."""
        return self.scores[[each == kind for each in self.kinds]]


@dataclass(frozen=True)
class KindRow:
    """What is found of a kind of defect.

    Attributes:
        kind: its name.
        images: how many.
        found: how many reach the threshold; None without one.
        auroc: against all good images; nan without any.
        pixel_auroc, aupro: of its images and the good ones; nan where nothing is marked.
    """

    kind: str
    images: int
    found: int | None
    auroc: float
    pixel_auroc: float
    aupro: float


class DefectMeter:
    """Counts what a detector says of images: a score for each, and counts of pixels.

    Args:
        threshold: a score from it on means a defect; None where none was chosen.
        preprocess: how an image became what the network saw; needed where masks are as large as the images of the files.
    """

    def __init__(self, threshold: float | None, preprocess: Preprocess | None = None) -> None:
        self.threshold = threshold
        self.preprocess = preprocess
        self.rows: dict[int, tuple[float, str]] = {}
        self.pixels = PixelMeter()

    def update(self, batch: Batch, outputs: tuple[Tensor, Tensor]) -> None:
        """Count a batch; `outputs` are scores (N,) and maps (N, H, W). Pixels are compared at the size of the masks."""
        assert isinstance(batch.targets, DefectBatch)
        scores, maps = (each.float().cpu().numpy() for each in outputs)
        masks = batch.targets.masks
        for row, (index, kind) in enumerate(zip(batch.indices.tolist(), batch.targets.kinds, strict=True)):
            # Padding has a negative index.
            if index >= 0:
                self.rows[index] = (float(scores[row]), kind)
                if isinstance(masks, WholeMasks):
                    self.pixels.add(index, kind, self._whole(maps[row], masks.ids[row]), masks.ids[row])
                else:
                    self.pixels.add(index, kind, maps[row], masks[row].cpu().numpy())

    def _whole(self, heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return scores of pixels at the size of a mask."""
        assert self.preprocess is not None
        size = (mask.shape[0], mask.shape[1])
        return moved_heat(heat, self.preprocess.change(size).undone(size))

    def state(self) -> tuple[dict[int, tuple[float, str]], PixelMeter]:
        """Return what was counted, to be sent to another process."""
        return self.rows, self.pixels

    def merge(self, state: tuple[dict[int, tuple[float, str]], PixelMeter]) -> None:
        """Count what the meter of another process has counted."""
        rows, pixels = state
        self.rows |= rows
        self.pixels.merge(pixels)

    @property
    def images(self) -> ScoredImages:
        """All images, in the order of the split."""
        order = sorted(self.rows)
        return ScoredImages(np.array(order, np.int64), np.array([self.rows[i][0] for i in order]), tuple(self.rows[i][1] for i in order))

    @property
    def kinds(self) -> list[str]:
        """Kinds of defects that occur, by name."""
        return sorted({kind for _, kind in self.rows.values()} - {GOOD})

    def figures(self) -> dict[str, float]:
        """Return the metrics that these images can tell: without defects only false alarms, without good images only misses."""
        images = self.images
        figures = {name: value for name, value in image_figures(images.scores, images.bad, self.threshold).items() if np.isfinite(value)}
        pixels = self.pixels.of(GOOD, *self.kinds)
        found = {"pixel_AUROC": pixels.auroc(), "AUPRO": pixels.aupro()}
        figures |= {name: value for name, value in found.items() if np.isfinite(value)}
        order = ("AUROC", "pixel_AUROC", "AUPRO", "AP", "F1", "false_alarms", "missed")
        return {name: figures[name] for name in order if name in figures}

    def one_answer(self) -> str:
        """Return a clause where all images get one score although some have defects; else ''."""
        images = self.images
        alike = len(images.scores) > 1 and images.bad.any() and not images.bad.all() and np.ptp(images.scores) == 0
        return f"all {len(images.scores)} images get the score {images.scores[0]:.4f}" if alike else ""

    def by_kind(self) -> list[KindRow]:
        """Return what is found of each kind of defect."""
        images, rows = self.images, []
        good = images.of(GOOD)
        for kind in self.kinds:
            scores, pixels = images.of(kind), self.pixels.of(GOOD, kind)
            found = None if self.threshold is None else int((scores >= self.threshold).sum())
            rows.append(KindRow(kind, len(scores), found, auroc(good, scores), pixels.auroc(), pixels.aupro()))
        return rows

    def intervals(self, groups: np.ndarray | None = None) -> dict[str, Interval]:
        """Return 95% intervals of the metrics, over images that are drawn again and again; of shares of images, Wilson's.

        Those of pixels are drawn from coarser counts, and put around the exact figures.

        Args:
            groups: number of the group of each image, from 0; None where images are independent.
        """
        images, exact = self.images, self.figures()
        scores, bad = images.scores, images.bad
        ranks, order = np.unique(scores, return_inverse=True)[1], falling(scores[:, None])
        reached = np.zeros(len(scores), bool) if self.threshold is None else scores >= self.threshold
        counted = CoarseImages.of([self.pixels.images.get(index) for index in images.indices.tolist()])

        def draw(times: np.ndarray) -> Mapping[str, float]:
            by_rank = (np.bincount(ranks, times * part, minlength=ranks.max() + 1) for part in (~bad, bad))
            pixels, hits = counted.drawn(times), times @ (reached & bad)
            return {
                "AUROC": area_under_roc(*by_rank),
                "pixel_AUROC": pixels.auroc(),
                "AUPRO": pixels.aupro(),
                "AP": float(weighted_average_precision(*order, bad[:, None], times)[0]),
                "F1": float(2 * hits / (times @ reached + times @ bad)) if times @ bad else float("nan"),
            }

        found: dict[str, Interval] = {}
        if bad.any() and not bad.all():
            fewer = min(distinct_units(each, groups) for each in (bad, ~bad))
            found = bootstrap(draw, len(scores), groups=groups, shares=RESAMPLED, evidence=dict.fromkeys(RESAMPLED, fewer))
        for name in ("pixel_AUROC", "AUPRO"):
            if name in found and name in exact:
                moved = exact[name] - found[name].value
                found[name] = Interval(exact[name], max(0.0, found[name].low + moved), min(1.0, found[name].high + moved))
        if self.threshold is not None:
            alarms, total, hits, defects = count_alarms(scores, bad, self.threshold)
            found |= {"false_alarms": wilson(alarms, total), "missed": wilson(defects - hits, defects)}
        return {name: each for name, each in found.items() if name in exact and np.isfinite(each.value)}


@dataclass(frozen=True, eq=False)
class CoarseImages:
    """Coarse counts of images: good and bad pixels and overlaps, each (N, B), and the number of defects, (N,)."""

    good: np.ndarray
    bad: np.ndarray
    overlap: np.ndarray
    regions: np.ndarray

    @staticmethod
    def of(images: Sequence[PixelCounts | None]) -> "CoarseImages":
        """Return the counts of images, nothing for those whose pixels are not known."""
        empty = PixelCounts.empty(COARSE)
        known = [each or empty for each in images]
        parts = (np.array([getattr(each, name) for each in known], dtype=np.float32) for name in ("good", "bad", "overlap", "regions"))
        return CoarseImages(*parts)

    def drawn(self, times: np.ndarray) -> PixelCounts:
        """Return the counts of images of which each was drawn so many times, (N,)."""
        weights = times.astype(np.float32)
        good, bad, overlap = (weights @ part for part in (self.good, self.bad, self.overlap))
        return PixelCounts(good.astype(np.float64), bad.astype(np.float64), overlap.astype(np.float64), int(weights @ self.regions))


def auroc(good: np.ndarray, bad: np.ndarray) -> float:
    """Return the probability that a bad image scores above a good one, ties counting half; nan without either."""
    if not len(good) or not len(bad):
        return float("nan")
    ranks = np.unique(np.concatenate([good, bad]), return_inverse=True)[1]
    counts = (np.bincount(part, minlength=ranks.max() + 1) for part in (ranks[: len(good)], ranks[len(good) :]))
    return area_under_roc(*counts)


def count_alarms(scores: np.ndarray, bad: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """Return how many good images reach the threshold, how many there are, and the same of bad ones."""
    alarms = scores >= threshold
    return int((alarms & ~bad).sum()), int((~bad).sum()), int((alarms & bad).sum()), int(bad.sum())


def image_figures(scores: np.ndarray, bad: np.ndarray, threshold: float | None) -> dict[str, float]:
    """Return AUROC and average precision of scores (N,) of images, bad or not, (N,), and what a threshold finds; nan if undefined."""
    figures = {"AUROC": auroc(scores[~bad], scores[bad]), "AP": float("nan")}
    if bad.any() and not bad.all():
        # Imported on use, since it is slow: about as long as all other imports but torch.
        from sklearn.metrics import average_precision_score

        figures["AP"] = float(average_precision_score(bad, scores))
    if threshold is not None:
        alarms, good, hits, defects = count_alarms(scores, bad, threshold)
        figures["F1"] = 2 * hits / max(1, hits + alarms + defects) if defects and good else float("nan")
        figures["false_alarms"] = alarms / good if good else float("nan")
        figures["missed"] = 1 - hits / defects if defects else float("nan")
    return figures
