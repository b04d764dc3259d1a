"""Random batches, and a spec for every weighter of the table."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from utils.spec import Spec

shapes = st.tuples(st.integers(1, 6), st.integers(1, 7))
seeds = st.integers(0, 2**31)


def draw(shape: tuple[int, int], seed: int, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Return logits and dense targets in float64, a third of the targets one-hot."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, shape)
    targets = rng.dirichlet(np.ones(shape[1]), shape[0])
    sharp = rng.random(shape[0]) < 1 / 3
    targets[sharp] = np.eye(shape[1])[targets[sharp].argmax(1)]
    return torch.from_numpy(logits), torch.from_numpy(targets)


def names(count: int) -> list[str]:
    """Return `count` class names."""
    return [f"class {number}" for number in range(count)]


def write_cost(path: Path, costs: np.ndarray) -> str:
    """Write a cost matrix for `names`; return the path as a spec has it."""
    classes = names(len(costs))
    rows = [["class", *classes], *([name, *row] for name, row in zip(classes, costs.tolist(), strict=True))]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return str(path)


def write_thresholds(path: Path, lower: np.ndarray, upper: np.ndarray) -> str:
    """Write a threshold matrix for `names`; return the path as a spec has it."""
    classes = names(len(lower))
    rows = [["bound", "class", *classes]]
    for bound, matrix in (("lower", lower), ("upper", upper)):
        rows += [[bound, name, *row] for name, row in zip(classes, matrix.tolist(), strict=True)]
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return str(path)


def spec_of(name: str, folder: Path, classes: int) -> Spec:
    """Return a spec under which the weighter `name` changes the loss, with its file written into `folder`."""
    rng = np.random.default_rng(1)
    if name in ("cost", "risk"):
        return Spec(name, (write_cost(folder / f"{name}.csv", rng.uniform(0.5, 4, (classes, classes))),))
    if name == "threshold":
        same = np.eye(classes)
        return Spec(name, (write_thresholds(folder / "bounds.csv", 0.05 - 0.15 * same, 1.1 - 0.15 * same),))
    if name == "ohm":
        return Spec(name, (0.5,))
    return Spec(name)
