"""Images of another size than those of the comparison, since a file for images of any size promises more than these show."""

from dataclasses import replace

import numpy as np

from applications.export.answers import Answers
from applications.export.parity import Allowed
from applications.export.reference import Reference, spread
from applications.formats.facts import Facts
from dataloader.splits.split import Split

# How many images are asked about so.
MOST = 8


def chosen_of(split: Split) -> list[int]:
    """Return the positions of the few images that are asked about at another size, from the whole split."""
    return spread(len(split), MOST)


def read_taller(split: Split, index: int) -> np.ndarray:
    """Return an image of a split, uint8 (h, w, C), with its last row repeated below: a quarter of its height, at least once."""
    image = split.read(index)
    return np.pad(image, ((0, max(1, len(image) // 4)), (0, 0), (0, 0)), mode="edge")


def refusal_of_other_size(reference: Reference, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> str:
    """Return why the answers to images of another size are not those of the model, or ''.

    Args:
        reference: the images of the comparison.
        expected: what the model answers to the taller ones, (K, ...).
        answers: of the file; nothing is compared where it takes images of one size.
        facts: what the file should say of itself.
        allowed: how much it may differ; figures are not asked for, since so few images have none worth the name.
    """
    if answers.taller is None:
        return ""
    few = type(reference)(reference.task, reference.split.subset(chosen_of(reference.split)))
    bounds = replace(allowed, drop=None)
    alike = replace(answers, single=answers.taller, batched=answers.taller)
    refusal = few.compare(expected, alike, facts, bounds).refusal(bounds)
    return f"of images of another size {refusal}" if refusal else ""
