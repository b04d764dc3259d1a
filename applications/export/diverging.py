"""The first layer at which a written file leaves the model."""

from collections.abc import Sequence

import numpy as np
import torch

from applications.export.probe import Job, RuntimeFailedError, ask_inner
from applications.formats.deployed import Deployed

# Shares of the largest value of a layer by which it may differ.
CLOSE = {"fp32": 1e-3, "half": 5e-2}


def find_diverging(honest: Deployed, job: Job, precision: str) -> str | None:
    """Return the name of the first layer whose output the file does not compute, or None where that cannot be told.

    Args:
        honest: the model.
        job: how to ask the file; its first image is looked at.
        precision: of the file.
    """
    try:
        inner = ask_inner(job)
    except RuntimeFailedError:
        return None
    if not inner:
        return None
    image = torch.from_numpy(job.split.read(0)).permute(2, 0, 1)[None]
    stages = [(name, value.numpy()) for name, value in honest.stages(image)]
    return first_unmatched(stages, inner, CLOSE[precision])


def first_unmatched(stages: Sequence[tuple[str, np.ndarray]], inner: Sequence[np.ndarray], close: float) -> str | None:
    """Return the stage behind the last one that is found among the values `inner`; None where the last one of all is found.

    A stage before that may be missing: exporters fold layers into their neighbors.
    """
    by_size: dict[int, list[np.ndarray]] = {}
    for value in inner:
        by_size.setdefault(value.size, []).append(value)
    # What is the same everywhere, such as the zeros behind a ReLU, tells nothing.
    telling = [(name, value) for name, value in stages if value.size and value.max() > value.min()]
    matched = [number for number, (_, value) in enumerate(telling) if _is_among(value, by_size.get(value.size, []), close)]
    following = matched[-1] + 1 if matched else 0
    return telling[following][0] if following < len(telling) else None


def _is_among(value: np.ndarray, others: Sequence[np.ndarray], close: float) -> bool:
    flat, margin = value.ravel(), close * float(np.abs(value).max())
    return any(bool((np.abs(other.ravel().astype(np.float32) - flat) <= margin).all()) for other in others)
