"""What a written file answered, asked in a process of its own."""

from dataclasses import dataclass

import numpy as np

from applications.formats.facts import Facts
from utils.timing import Timing


@dataclass(frozen=True)
class Answers:
    """What a file answered.

    Attributes:
        facts: what it says of itself.
        single: (N, ...), as the `Reference` of the task joins them, one image at a time.
        batched: the same, several images at a time.
        timing: of one image, from its pixels to the answer.
        open_seconds: until the file had answered one image.
        extras: (K, ...) each, what it answers beside (`extra_outputs.py`) for K of the images.
        taller: (K, ...) for images of another size (`other_size.py`), one at a time; None where the file takes images of one size.
    """

    facts: Facts
    single: np.ndarray
    batched: np.ndarray
    timing: Timing
    open_seconds: float
    extras: tuple[np.ndarray, ...] = ()
    taller: np.ndarray | None = None
