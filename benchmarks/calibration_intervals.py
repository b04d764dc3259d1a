"""How often the 95% interval of a calibration error holds the error of endless answers.

python -m benchmarks.calibration_intervals [--draws N] [--only labels|boxes]

labels  one answer an image, of 2 classes (probabilities from 50% on) and of 1,000 (all probabilities), for 200, 1,000 and 5,000 images
boxes   some 8 answers an image, which are right or wrong partly together, for 20, 72 and 300 images: the D-ECE of detectors

Answers are calibrated (their error is 0), a little or much too sure, too unsure, or wrong in one bin alone. The percentiles of a bootstrap
of the error are told beside the interval.

Exit code 1: an interval holds the error in less than 90% of the draws.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.metrics.calibration import BINS, bin_of
from utils.metrics.calibration_interval import calibration_error_interval
from utils.metrics.statistics import bootstrap

ENDLESS = 1_000_000
LEAST_HELD = 0.9
# How log odds of answers become those of being right.
KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "calibrated": lambda odds: odds,
    "a little too sure": lambda odds: 0.87 * odds,
    "much too sure": lambda odds: 0.5 * odds,
    "too unsure": lambda odds: 1.5 * odds,
    "too sure in the last bin": lambda odds: np.where(odds > np.log(14), np.minimum(odds, np.log(9)), odds),
}


@dataclass(frozen=True)
class Answers:
    """Answers of a model.

    Attributes:
        probabilities: (K,).
        chances: of being right, (K,).
        images: number of the image of each, (K,).
    """

    probabilities: np.ndarray
    chances: np.ndarray
    images: np.ndarray


def share(odds: np.ndarray) -> np.ndarray:
    """Return the probability of log odds."""
    return 1 / (1 + np.exp(-odds))


def labels(rng: np.random.Generator, count: int, classes: int, kind: str) -> Answers:
    """Return an answer an image."""
    odds = np.abs(rng.normal(0, 2, count)) if classes == 2 else rng.normal(0.5, 2, count)
    return Answers(share(odds), share(KINDS[kind](odds)), np.arange(count))


def boxes(rng: np.random.Generator, count: int, kind: str) -> Answers:
    """Return some answers an image, in the mean 8; how hard an image is moves all of its chances by a fifth at most, and no mean."""
    images = np.repeat(np.arange(count), rng.poisson(8, count))
    odds = rng.normal(0.5, 1.2, len(images))
    chances = share(KINDS[kind](odds))
    together = rng.choice([-1.0, 1.0], count)[images] * np.minimum(0.2, np.minimum(chances, 1 - chances))
    return Answers(share(odds), chances + together, images)


def endless_error(answers: Answers) -> float:
    """Return the error of many answers whose chances are known."""
    gaps = answers.probabilities - answers.chances
    return float(np.abs(np.bincount(bin_of(answers.probabilities), gaps, BINS)).sum() / len(gaps))


def percentiles(answers: Answers, right: np.ndarray, count: int, seed: int) -> tuple[float, float]:
    """Return the limits that a bootstrap of the error itself gives."""
    bins, gaps = bin_of(answers.probabilities), answers.probabilities - right

    def figure(times: np.ndarray) -> dict[str, float]:
        drawn = times[answers.images]
        return {"error": float(np.abs(np.bincount(bins, gaps * drawn, BINS)).sum() / max(1, drawn.sum()))}

    found = bootstrap(figure, count, seed=seed, resamples=100)["error"]
    return found.low, found.high


def cases(only: str | None) -> Iterator[tuple[str, int, Callable[[np.random.Generator, int], Answers], bool]]:
    """Yield name, number of images, how answers are drawn, and whether they are calibrated."""
    for kind in KINDS:
        for classes in (2, 1000) if only != "boxes" else ():
            for count in (200, 1000, 5000):
                yield (
                    f"{classes:,} classes, {kind}",
                    count,
                    lambda rng, images, of=classes, kind=kind: labels(rng, images, of, kind),
                    kind == "calibrated",
                )
        for count in (20, 72, 300) if only != "labels" else ():
            yield f"boxes, {kind}", count, lambda rng, images, kind=kind: boxes(rng, images, kind), kind == "calibrated"


def main() -> int:
    """Print the table; return 1 where an interval holds the error too seldom."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--only", choices=("labels", "boxes"))
    options = parser.parse_args()
    worst = 1.0
    for name, count, draw, calibrated in cases(options.only):
        rng = np.random.default_rng(count)
        true = 0.0 if calibrated else endless_error(draw(np.random.default_rng(0), ENDLESS // (8 if "boxes" in name else 1)))
        held, plain, widths, zeros = 0, 0, 0.0, 0
        for seed in range(options.draws):
            answers = draw(rng, count)
            right = rng.random(len(answers.chances)) < answers.chances
            found = calibration_error_interval(answers.probabilities, right, answers.images, count=count, seed=seed)
            low, high = percentiles(answers, right, count, seed)
            held += found.low <= true <= found.high
            plain += low <= true <= high
            widths += found.high - found.low
            zeros += found.low == 0
        shares = [each / options.draws for each in (held, plain, zeros)]
        print(
            f"{name:42} {count:5} images  error {true:6.2%}  held {shares[0]:6.1%}  by percentiles {shares[1]:6.1%}  "
            f"begins at 0 {shares[2]:6.1%}  width {widths / options.draws:.1%}",
            flush=True,
        )
        worst = min(worst, shares[0])
    return int(worst < LEAST_HELD)


if __name__ == "__main__":
    sys.exit(main())
