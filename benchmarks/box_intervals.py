"""How often the 95% interval of AP holds the AP of endless images of the same kind.

python -m benchmarks.box_intervals [--draws N] [--images N ...] [--classes N ...] [--resamples N]

Scenes are drawn from a model of a detector: an image shows at least one object, in the mean 2 or 8, of equally many classes or of
classes of which one is rare; objects of a hard image are found more seldom, more loosely and with lower scores together. The AP of
endless images is that of 20,000. A draw is a data set of N images with its interval, as --evaluation makes it.

Exit code 1: with 50 images or more, an interval holds it in less than 85% of the draws.
"""

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from utils.metrics.average_precision import coco_figures
from utils.metrics.box_matching import AnsweredBoxes, Matches, TrueBoxes, match_boxes
from utils.metrics.box_resampling import ResampledPrecision, headline_figures
from utils.metrics.statistics import bootstrap

ENDLESS = 20_000
LEAST_HELD, FEW = 0.85, 50
SIDE, CELL = 40.0, 100.0


@dataclass(frozen=True)
class Kind:
    """Scenes to be drawn.

    Attributes:
        classes: how many.
        objects: mean of an image.
        hardness: how much images differ, on the scale of log odds.
        rare: whether the last class has a tenth of the objects of another.
    """

    classes: int
    objects: float
    hardness: float
    rare: bool = False


def scenes(kind: Kind, images: int, rng: np.random.Generator) -> Matches:
    """Return what a detector finds in so many images."""
    counts = 1 + rng.poisson(kind.objects - 1, images)
    image = np.repeat(np.arange(images), counts)
    ease = rng.normal(0, kind.hardness, images)
    chances = np.ones(kind.classes)
    chances[-1] = 0.1 if kind.rare else 1.0
    label = rng.choice(kind.classes, len(image), p=chances / chances.sum())
    # Objects lie in cells of their own; an answer is moved aside as far as its overlap wants.
    left = CELL * (np.arange(len(image)) - np.repeat(counts.cumsum() - counts, counts))
    corners = np.stack([left, 0 * left, left + SIDE, 0 * left + SIDE], 1)
    truths = TrueBoxes(image, label, corners, np.zeros(len(image), bool), np.full(len(image), SIDE**2))
    strength = 1.0 + ease[image] + rng.normal(0, 1, len(image))
    found = rng.random(len(image)) < 1 / (1 + np.exp(-1.0 - strength))
    overlap = 1 / (1 + np.exp(-1.2 - 0.6 * strength - rng.normal(0, 0.6, len(image))))
    aside = (SIDE * (1 - overlap) / (1 + overlap))[:, None] * np.array([1, 0, 1, 0])
    false = np.repeat(np.arange(images), rng.poisson(0.5 * kind.objects * np.exp(-0.5 * ease)))
    empty = np.array([0, 500, SIDE, 500 + SIDE]) + CELL * np.arange(len(false))[:, None] * np.array([1, 0, 1, 0])
    scores = np.concatenate([strength[found] + rng.normal(0, 0.7, int(found.sum())), rng.normal(-0.8, 1, len(false))])
    answers = AnsweredBoxes(
        np.concatenate([image[found], false]),
        np.concatenate([label[found], rng.choice(kind.classes, len(false))]),
        np.concatenate([(corners + aside)[found], empty]),
        (1 / (1 + np.exp(-scores))).astype(np.float32),
    )
    return match_boxes(truths, answers)


def held(kind: Kind, images: int, draws: int, resamples: int) -> dict[str, tuple[float, float, float]]:
    """Return figure -> AP of endless images, share of the draws whose interval holds it, mean width of the intervals."""
    rng = np.random.default_rng(0)
    summary = coco_figures(scenes(kind, ENDLESS, rng), kind.classes).summary
    inside: dict[str, list[tuple[bool, float]]] = {"AP": [], "AP50": []}
    for number in range(draws):
        resampled = ResampledPrecision(scenes(kind, images, rng), kind.classes)
        figures = lambda times, own=resampled: headline_figures(own(times))  # noqa: E731
        found = bootstrap(figures, images, seed=number, shares=["AP", "AP50", "AP75"], resamples=resamples)
        for name, results in inside.items():
            results.append((found[name].low <= summary[name] <= found[name].high, found[name].high - found[name].low))
    return {name: (summary[name], *np.mean(results, axis=0).tolist()) for name, results in inside.items()}


def main() -> int:
    """Print the table; return 1 where an interval holds too seldom."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 72, 300])
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 3, 20])
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    worst = 1.0
    for classes in options.classes:
        for kind in (Kind(classes, 2, 1.0), Kind(classes, 8, 1.0, rare=classes > 1)):
            for images in options.images:
                found = held(kind, images, options.draws, options.resamples)
                said = "  ".join(f"{name} {ap:.1%} held {share:.1%} width {width:.1%}" for name, (ap, share, width) in found.items())
                rare = ", one rare" if kind.rare else ""
                print(f"{classes:2} classes{rare:10} {kind.objects:g} objects  {images:4} images  {said}", flush=True)
                if images >= FEW:
                    worst = min(worst, *(share for _, share, _ in found.values()))
    return int(worst < LEAST_HELD)


if __name__ == "__main__":
    sys.exit(main())
