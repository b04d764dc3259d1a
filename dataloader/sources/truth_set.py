"""Images with masks or boxes, as their readers hand them over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataloader.targets.truths import Truths


@dataclass(frozen=True)
class TruthSet:
    """A data set of masks or boxes.

    Attributes:
        root: that its paths start from.
        images: split -> images; '' for images that nobody has split.
        truths: their masks or boxes.
        notes: warnings for the user.
        faults: lines of boxes that cannot be used, with file and line.
    """

    root: Path
    images: Mapping[str, Sequence[str]]
    truths: Truths
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
