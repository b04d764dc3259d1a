"""The fixed weights of --curriculum_learning: `curriculum.txt`, and the courses that it is made of.

A course has the images of which a model gives their labels a probability in some range (Bengio et al.: Curriculum Learning, ICML 2009).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataloader.sidecars.format import PATH, WEIGHT, Sidecar, read_sidecar
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log

CURRICULUM = "curriculum.txt"


def label_probabilities(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the probability (N,) of the true label.

    Args:
        probabilities: (N, C).
        targets: class indices (N,), or ones for all labels of an image, (N, C): then it is the mean, over all labels, of the
            probability that a label is there, or that it is not.
    """
    if targets.ndim == 1:
        return probabilities[np.arange(len(targets)), targets]
    return np.where(targets >= 0.5, probabilities, 1 - probabilities).mean(1)


def assign_courses(probabilities: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return for every image, int64 (N,), the first threshold that its probability (N,) exceeds; len(thresholds) where it exceeds none."""
    exceeds = probabilities[:, None] > np.asarray(thresholds)[None, :]
    return np.where(exceeds.any(1), exceeds.argmax(1), len(thresholds))


def read_curriculum(file: Path) -> Sidecar:
    """Read the weights of a curriculum, (N, 1).

    Raises:
        UserError: a weight is negative, or none is positive.
    """
    if not file.is_file():
        remedy = f"python main.py --make_curriculum train --resume RUN writes {CURRICULUM}"
        raise UserError(f"there is no {file}; {remedy}")
    sidecar = read_sidecar(file)
    if sidecar.columns != (WEIGHT,):
        raise UserError(f"{file} is not a curriculum: its columns must be {PATH},{WEIGHT}, not {','.join((PATH, *sidecar.columns))}")
    if not sidecar.headed:
        log().info(f"          {file} has no header: its lines are read as path and weight")
    for row in np.flatnonzero(sidecar.values[:, 0] < 0).tolist():
        sidecar.refuse(row, f"the weight is {sidecar.values[row, 0]:g}; write 0 or more")
    if not (sidecar.values > 0).any():
        raise UserError(f"{file}: no weight is positive, so no image would be trained on; set some weights above 0")
    return sidecar


def with_curriculum(split: Split, curriculum: Sidecar) -> tuple[Split, list[str]]:
    """Return the split with the weights of a curriculum multiplied in, and the images that it does not list, which get the weight 0.

    Raises:
        UserError: no image has a positive weight.
    """
    weights = dict(zip(curriculum.paths, curriculum.values[:, 0].tolist(), strict=True))
    factors = np.array([weights.get(path, 0.0) for path in split.paths], dtype=np.float32)
    if not (split.weights * factors > 0).any():
        remedy = f"its paths look like {curriculum.paths[0]}, those of the data like {split.paths[0]}"
        raise UserError(f"{curriculum.file} gives no {split.name} image a positive weight; {remedy}")
    return replace(split, weights=split.weights * factors), [path for path in split.paths if path not in weights]
