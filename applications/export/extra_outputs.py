"""What a file of a classifier answers beside its probabilities, beside what the model computes for the same images."""

from collections.abc import Sequence

import numpy as np
import torch

from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from dataloader.images.preprocess import fit_images
from dataloader.splits.split import Split

EXTRAS = ("features", "cam")
# How far a value may lie from that of the model, as a share of the largest of these; in 8 bits every value moves.
ALLOWED = {"fp32": 1e-3, "half": 5e-2, "int8": float("inf")}


def positions_of_extras(facts: Facts) -> list[int]:
    """Return which outputs of a file stand beside its answers."""
    return [position for position, name in enumerate(facts.outputs) if name in EXTRAS]


def expected_extras(deployed: Deployed, split: Split, chosen: Sequence[int]) -> list[np.ndarray]:
    """Return what the model computes beside its probabilities, (K, ...) each.

    Args:
        deployed: the parts of the model, in full precision.
        split: the images.
        chosen: positions of the K images.
    """
    numbers, rows = deployed.preprocess, []
    with torch.inference_mode():
        for index in chosen:
            pixels = torch.from_numpy(np.ascontiguousarray(split.read(index))).permute(2, 0, 1)[None]
            outputs = deployed.answering(fit_images(pixels, *numbers.image_size, numbers.resize))
            rows.append([output.float().numpy()[0] for output in outputs[1:]])
    return [np.stack(each) for each in zip(*rows, strict=True)]


def refusal_of_extras(told: Sequence[np.ndarray], expected: Sequence[np.ndarray], facts: Facts) -> str:
    """Return why what a file answers beside its probabilities is not what the model computes, or ''."""
    for position, theirs, ours in zip(positions_of_extras(facts), told, expected, strict=True):
        name = facts.outputs[position]
        if theirs.shape != ours.shape:
            return f"{name} have the shape {theirs.shape[1:]}, not {ours.shape[1:]}"
        apart = float(np.abs(theirs - ours).max() / max(float(np.abs(ours).max()), 1e-12))
        if not apart <= ALLOWED[facts.precision] or np.isnan(apart):
            return f"a value of {name} differs by {apart:.1e} of the largest, allowed are {ALLOWED[facts.precision]:.0e}"
    return ""
