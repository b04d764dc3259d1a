"""Random boxes of many images, with ties, crowds, objects smaller than their boxes, and classes without objects."""

import numpy as np

from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes


def random_boxes(seed: int, *, images: int, classes: int, most: int, whole: bool) -> tuple[TrueBoxes, AnsweredBoxes]:
    """Return truths and answers; `whole` rounds places and scores, so that many overlaps and scores are equal."""
    rng = np.random.default_rng(seed)
    truths, answers = [], []
    for image in range(images):
        count, said = int(rng.integers(0, 12)), int(rng.integers(0, most + 1))
        start, size = rng.uniform(0, 400, (count, 2)), np.exp(rng.uniform(1, 5.5, (count, 2)))
        if whole:
            start, size = start.round(), size.round().clip(1)
        # The last class has no object.
        labels = rng.integers(0, max(1, classes - 1), count)
        corners = np.concatenate([start, start + size], axis=1)
        truths.append((np.full(count, image), labels, corners, rng.random(count) < 0.1, size.prod(1) * rng.uniform(0.4, 1, count)))
        own = rng.integers(0, max(1, count), said)
        base = corners[own] if count else np.tile([0.0, 0.0, 50.0, 50.0], (said, 1))
        boxes = base + rng.normal(0, 1, (said, 4)) * rng.choice([0, 0.02, 0.1, 0.3], (said, 1)) * 50
        boxes = boxes.round() if whole else boxes
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        named = np.where(rng.random(said) < 0.2, rng.integers(0, classes, said), labels[own] if count else 0)
        scores = rng.random(said)
        answers.append((np.full(said, image), named, boxes, (scores * 10).round() / 10 if whole else scores))
    true, given = (tuple(np.concatenate(part) for part in zip(*rows, strict=True)) for rows in (truths, answers))
    return TrueBoxes(*true), AnsweredBoxes(*given)


def of_images(boxes: TrueBoxes, images: np.ndarray) -> TrueBoxes:
    """Return the boxes of some images, each as often as it is named, which are numbered anew."""
    rows = [np.flatnonzero(boxes.images == image) for image in images]
    found = boxes.rows(np.concatenate(rows))
    numbers = np.repeat(np.arange(len(images)), [len(own) for own in rows])
    return TrueBoxes(numbers, found.classes, found.corners, found.crowd, found.areas)


def answers_of_images(boxes: AnsweredBoxes, images: np.ndarray) -> AnsweredBoxes:
    """Return the answers for some images, as `of_images`."""
    rows = [np.flatnonzero(boxes.images == image) for image in images]
    found = boxes.rows(np.concatenate(rows))
    return AnsweredBoxes(np.repeat(np.arange(len(images)), [len(own) for own in rows]), found.classes, found.corners, found.scores)
