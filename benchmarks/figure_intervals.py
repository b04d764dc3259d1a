"""How often the 95% intervals of the figures of a report hold the figure of endless images, where images are few or classes rare.

python -m benchmarks.figure_intervals [--draws N] [--only labels|masks|defects]

labels   macro F1 of 2 to 100 classes, even or of which few are frequent; mAP of 10 and 40 labels, some of them rare
masks    mIoU of 2 and 8 classes, two of them rare or none, and the IoU of the rarest; images are hard or easy for all classes together
defects  AUROC of images, AUROC and overlap of pixels, AP and F1, with few and with many bad images

A draw is a data set with its intervals, made as --evaluation makes them. benchmarks.box_intervals does the same for boxes, and
benchmarks.calibration_intervals for calibration errors. Recall and precision of classes have Wilson's interval, which needs no simulation.

Exit code 1: with 200 images, an interval of a figure of at least 10 images holds it in less than 85% of the draws.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from applications.tasks.defect_meter import DefectMeter
from applications.tasks.label_figures import multi_label_metrics
from applications.tasks.mask_figures import ClassPixels
from dataloader.targets.defect import GOOD
from utils.metrics.statistics import Interval, bootstrap, distinct_units, macro_f1

LEAST_HELD, MANY = 0.85, 200
RESAMPLES = 200
MAP_SIDE = 20


@dataclass(frozen=True)
class Case:
    """A kind of data sets.

    Attributes:
        name: what it is.
        counts: of images.
        endless: returns the true figures.
        intervals: (generator, number of images, seed) -> figure -> interval of one data set.
        judged: whether its figures rest on at least 10 images where there are 200.
    """

    name: str
    counts: tuple[int, ...]
    endless: Callable[[], dict[str, float]]
    intervals: Callable[[np.random.Generator, int, int], dict[str, Interval]]
    judged: bool = True


def label_answers(rng: np.random.Generator, count: int, classes: int, accuracy: float, *, uneven: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes and answers; of uneven classes the rare ones are answered worse."""
    weight = 1 / np.arange(1, classes + 1) if uneven else np.ones(classes)
    truth = rng.choice(classes, count, p=weight / weight.sum())
    chance = np.clip(accuracy - 0.25 * uneven * truth / max(1, classes - 1), 0.05, 1)
    wrong = (truth + 1 + rng.integers(0, min(5, classes - 1), count)) % classes
    return truth, np.where(rng.random(count) < chance, truth, wrong)


def several_labels(rng: np.random.Generator, count: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return truths and probabilities, (N, C), of labels that so many images have."""
    truth = rng.random((count, len(shares))) < shares
    return truth, 1 / (1 + np.exp(-rng.normal(-2, 1, truth.shape) - 2 * truth))


def label_cases() -> Iterator[Case]:
    """Yield the cases of labels."""
    for classes, accuracy, uneven in ((2, 0.97, True), (6, 0.75, True), (30, 0.97, True), (100, 0.75, True), (100, 0.97, False)):

        def drawn(rng: np.random.Generator, count: int, of: tuple[int, float, bool] = (classes, accuracy, uneven)) -> Interval:
            return macro_f1(*label_answers(rng, count, of[0], of[1], uneven=of[2]))

        yield Case(
            f"{classes} classes, {'uneven' if uneven else 'even'}, {accuracy:.0%} right",
            (50, 200),
            lambda drawn=drawn: {"macro F1": drawn(np.random.default_rng(0), 300_000).value},
            lambda rng, count, _, drawn=drawn: {"macro F1": drawn(rng, count)},
        )
    for name, shares, judged in (
        ("10 labels of 10% of the images", np.full(10, 0.1), True),
        ("40 labels of 5%", np.full(40, 0.05), True),
        ("5 labels of 10%, 5 of 3%", np.repeat([0.1, 0.03], 5), False),
    ):

        def metrics(rng: np.random.Generator, count: int, shares: np.ndarray = shares) -> Callable[[np.ndarray], dict[str, float]]:
            truth, probabilities = several_labels(rng, count, shares)
            return multi_label_metrics(probabilities, truth, probabilities >= 0.5, np.zeros(count))

        yield Case(
            name,
            (50, 200, 1000),
            lambda metrics=metrics: {"mAP": metrics(np.random.default_rng(0), 40_000)(np.ones(40_000, np.int64))["mAP"]},
            lambda rng, count, seed, metrics=metrics: {
                "mAP": bootstrap(metrics(rng, count), count, seed=seed, resamples=RESAMPLES // 2, shares=("mAP",))["mAP"]
            },
            judged,
        )


def mask_counts(rng: np.random.Generator, count: int, classes: int, *, rare: bool) -> np.ndarray:
    """Return pixels that are hit, real and answered of every image and class, (N, 3, C); the last two classes may be rare."""
    occurrence = np.where(np.arange(classes) < classes // 2, 1.0, 0.4)
    if rare:
        occurrence[-2:] = 0.1, 0.05
    present = rng.random((count, classes)) < occurrence
    present[:, 0] = True
    area = present * rng.gamma(1.0, 100.0, (count, classes)) * np.where(np.arange(classes) == 0, 5, 1)
    odds = 2 - 1.5 * (1 - occurrence) + rng.normal(0, 1, (count, 1)) + rng.normal(0, 0.8, (count, classes))
    hit = area / (1 + np.exp(-odds))
    said = hit + (area - hit).sum(1, keepdims=True) * rng.dirichlet(np.full(classes, 0.5), count)
    return np.stack([hit, area, said], 1)


def mask_figures(total: np.ndarray) -> dict[str, float]:
    """Return mIoU and the IoU of the last class."""
    pixels = ClassPixels(*total)
    last = float(pixels.iou()[-1]) if pixels.occurs[-1] else float("nan")
    return {"mIoU": pixels.figures()["mIoU"], "IoU of the last": last}


def mask_intervals(rng: np.random.Generator, count: int, seed: int, classes: int, *, rare: bool) -> dict[str, Interval]:
    """Return the intervals of one data set, as `MeasuredMasks` makes them."""
    rows = mask_counts(rng, count, classes, rare=rare)
    flat, shown = rows.reshape(count, -1), distinct_units(rows[:, 1, -1] > 0, None)
    found = bootstrap(
        lambda times: mask_figures((times @ flat).reshape(3, classes)),
        count,
        seed=seed,
        resamples=RESAMPLES,
        shares=("mIoU", "IoU of the last"),
        evidence={"IoU of the last": shown},
    )
    return {name: each for name, each in found.items() if np.isfinite(each.value)}


def mask_cases() -> Iterator[Case]:
    """Yield the cases of masks."""
    for classes, rare in ((2, False), (8, False), (8, True)):
        yield Case(
            f"{classes} classes{', two rare' if rare else ''}",
            (20, 50, 200),
            lambda c=classes, r=rare: mask_figures(mask_counts(np.random.default_rng(9), 40_000, c, rare=r).sum(0)),
            lambda rng, count, seed, c=classes, r=rare: mask_intervals(rng, count, seed, c, rare=r),
        )


def scored(rng: np.random.Generator, count: int, bad: int) -> DefectMeter:
    """Return a meter that has counted so many images, of which so many are bad, with a defect each."""
    meter = DefectMeter(0.65)
    for index in range(count):
        hardness = rng.normal(0, 0.5)
        odds, mask = rng.normal(-2 + hardness, 1, (MAP_SIDE, MAP_SIDE)), np.zeros((MAP_SIDE, MAP_SIDE), np.uint8)
        if index < bad:
            height, width = rng.integers(2, 9, 2)
            mask[3 : 3 + height, 3 : 3 + width] = 1
            odds[mask == 1] = rng.normal(0.3 + hardness + rng.normal(0, 1.3), 0.7, height * width)
        heat, kind = 1 / (1 + np.exp(-odds)), "crack" if index < bad else GOOD
        meter.rows[index] = (float(np.quantile(heat, 0.99)), kind)
        meter.pixels.add(index, kind, heat.astype(np.float32), mask)
    return meter


def defect_cases() -> Iterator[Case]:
    """Yield the cases of defects."""
    for count, bad, judged in ((50, 5, False), (50, 25, True), (200, 10, True), (200, 60, True)):
        yield Case(
            f"{bad} bad ones",
            (count,),
            lambda share=bad / count: _known(scored(np.random.default_rng(1), 3000, round(3000 * share)).figures()),
            lambda rng, count, _, bad=bad: _known(scored(rng, count, bad).intervals()),
            judged,
        )


def _known(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures but the shares of images, which have Wilson's interval."""
    return {name: each for name, each in figures.items() if name not in ("false_alarms", "missed")}


CASES = {"labels": label_cases, "masks": mask_cases, "defects": defect_cases}


def main() -> int:
    """Print the table; return 1 where an interval holds its figure too seldom."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--only", choices=CASES)
    options = parser.parse_args()
    worst = 1.0
    for name, cases in CASES.items():
        for case in cases() if options.only in (None, name) else ():
            true = case.endless()
            for count in case.counts:
                rng, found = np.random.default_rng(count), {figure: [] for figure in true}
                for seed in range(options.draws):
                    for figure, each in case.intervals(rng, count, seed).items():
                        found[figure].append((each.low <= true[figure] <= each.high, each.high - each.low))
                for figure, results in found.items():
                    held, width = np.mean(results, axis=0)
                    print(f"{name:8} {case.name:36} {count:5} images  {figure:16} {true[figure]:6.1%}  held {held:6.1%}  width {width:.1%}")
                    if count >= MANY and case.judged:
                        worst = min(worst, float(held))
                sys.stdout.flush()
    return int(worst < LEAST_HELD)


if __name__ == "__main__":
    sys.exit(main())
