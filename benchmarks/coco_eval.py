"""COCO's figures of 5,000 images x 100 detections, here and by pycocotools, in turns; and the choice among 8,400 x 80 boxes.

python -m benchmarks.coco_eval                 pip install pycocotools first; without it, the time of this program alone
"""

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from applications.tasks.box_answers import Choice, chosen_boxes
from utils.metrics.average_precision import coco_figures
from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes, match_boxes

IMAGES, DETECTIONS, CLASSES, PLACES = 5_000, 100, 80, 8_400
TURNS = 3


def made(rng: np.random.Generator) -> tuple[TrueBoxes, AnsweredBoxes]:
    """Return images with as many objects as COCO's, and detections of which a third mean one of them."""
    counts = rng.poisson(7.3, IMAGES)
    images = np.repeat(np.arange(IMAGES), counts)
    start, size = rng.uniform(0, 400, (len(images), 2)), np.exp(rng.uniform(2, 5.5, (len(images), 2)))
    corners, labels = np.concatenate([start, start + size], axis=1), rng.integers(0, CLASSES, len(images))
    truths = TrueBoxes(images, labels, corners, rng.random(len(images)) < 0.01, size.prod(1) * 0.7)
    own = np.repeat(np.arange(IMAGES), DETECTIONS)
    first = counts.cumsum() - counts
    meant = np.minimum(first[own] + (rng.random(len(own)) * np.maximum(counts[own], 1)).astype(int), len(images) - 1)
    near = (rng.random(len(own)) < 0.33) & (counts[own] > 0)
    beyond = rng.uniform(0, 400, (len(own), 2))
    far = np.concatenate([beyond, beyond + np.exp(rng.uniform(2, 5, (len(own), 2)))], axis=1)
    jitter = corners[meant] + rng.normal(0, 0.08, (len(own), 4)) * np.tile(size[meant], 2)
    boxes = np.where(near[:, None], jitter, far)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    named = np.where(near & (rng.random(len(own)) < 0.8), labels[meant], rng.integers(0, CLASSES, len(own)))
    return truths, AnsweredBoxes(own, named, boxes, rng.random(len(own)))


def by_pycocotools(truths: TrueBoxes, answers: AnsweredBoxes) -> Callable[[], Any] | None:
    """Return what evaluates by pycocotools, once its tables are made; None where it is not installed."""
    try:
        from pycocotools.coco import COCO  # pyright: ignore[reportMissingImports]
        from pycocotools.cocoeval import COCOeval  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    def sides(corners: np.ndarray) -> list[list[float]]:
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()

    true = zip(truths.images.tolist(), truths.classes.tolist(), sides(truths.corners), truths.crowd, truths.areas, strict=True)
    said = zip(answers.images.tolist(), answers.classes.tolist(), sides(answers.corners), answers.scores.tolist(), strict=True)
    judge = COCO()
    judge.dataset = {
        "images": [{"id": image} for image in range(IMAGES)],
        "categories": [{"id": label} for label in range(CLASSES)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": label, "bbox": box, "iscrowd": int(crowd), "area": float(area)}
            for number, (image, label, box, crowd, area) in enumerate(true, start=1)
        ],
    }
    judge.createIndex()
    given = judge.loadRes([{"image_id": i, "category_id": c, "bbox": box, "score": score} for i, c, box, score in said])

    def run() -> Any:
        found = COCOeval(judge, given, "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
        return found.stats

    return run


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call computed, by the time of this process, and what it returned."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        result = run()
    return time.process_time() - start, result


def main() -> None:
    truths, answers = made(np.random.default_rng(0))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = by_pycocotools(truths, answers)
    for _ in range(TURNS):
        own, figures = seconds(lambda: coco_figures(match_boxes(truths, answers), CLASSES).summary)
        line = f"this program {own:.1f} s"
        if theirs is not None:
            other, stats = seconds(theirs)
            apart = np.abs(np.array(list(figures.values())) - stats).max()
            line += f", pycocotools {other:.1f} s, {other / own:.1f} times as long; figures differ by {apart:.0e}"
        print(line)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    middles, sizes = torch.rand(PLACES, 2, generator=generator) * 640, torch.rand(PLACES, 2, generator=generator) * 120 + 8
    for name, scores in (
        ("random scores", torch.rand(PLACES, 1 + CLASSES, generator=generator)),
        ("scores of a network", torch.sigmoid(2 * torch.randn(PLACES, 1 + CLASSES, generator=generator) - 4)),
    ):
        said = torch.cat([middles - sizes / 2, middles + sizes / 2, scores], 1)
        for confidence in (0.001, 0.25):
            times = sorted(seconds(lambda said=said, least=confidence: chosen_boxes(said, Choice(least)))[0] for _ in range(9))
            print(f"choice among {PLACES} x {CLASSES} boxes, {name}, from {confidence:g}: {1e3 * times[4]:.1f} ms")


if __name__ == "__main__":
    main()
