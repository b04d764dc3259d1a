"""TRUTH_KINDS: data whose truth has places on the image, and how each kind is recognized and opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dataloader.sources.box_sets import LAYOUT as BOX_LAYOUT
from dataloader.sources.box_sets import looks_like_boxes, open_boxes
from dataloader.sources.mask_layouts import has_masks
from dataloader.sources.mask_sets import LAYOUT as MASK_LAYOUT
from dataloader.sources.mask_sets import open_masks
from dataloader.sources.truth_set import TruthSet
from dataloader.targets.boxes import Boxes
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target


@dataclass(frozen=True)
class TruthKind:
    """A kind of truth, and where it is found.

    Attributes:
        target: the type of target that it gives.
        layout: what is expected, for messages.
        recognized: whether a folder or a file holds it, so that no task need be named.
        read: called with (place, `TruthReading`, classes that are known, tolerant=), finds the images and opens their truths.
        of_files: whether a file can hold it, such as a table or the JSON of COCO; else it lies in folders alone.
    """

    target: type[Target]
    layout: str
    recognized: Callable[[Path], bool]
    read: Callable[..., TruthSet]
    of_files: bool


# The first that recognizes the data opens it.
TRUTH_KINDS = (
    TruthKind(Mask, MASK_LAYOUT, has_masks, open_masks, of_files=False),
    TruthKind(Boxes, BOX_LAYOUT, looks_like_boxes, open_boxes, of_files=True),
)
