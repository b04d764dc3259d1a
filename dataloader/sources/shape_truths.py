"""Masks and boxes of the built-in scenes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from dataloader.sources.box_sets import open_boxes
from dataloader.sources.box_table import BoxTable
from dataloader.sources.mask_files import MaskFolder
from dataloader.sources.shapes import CLASSES, GROUND
from dataloader.targets.truths import Truths
from dataloader.truth_reading import USUAL


def shape_masks(images: Path) -> MaskFolder:
    """Return the masks of the scenes in this folder, which `open_shapes` has written: 0 is ground, else 1 + the class."""
    return MaskFolder(images.parent / "masks", (GROUND, *CLASSES))


def shape_boxes(images: Path) -> BoxTable:
    """Return the boxes of the scenes in this folder, which `open_shapes` has written."""
    table = open_boxes(images, USUAL).truths
    assert isinstance(table, BoxTable)
    below = {path: path.removeprefix(f"{images.name}/") for path in table.places}
    places, sizes = ({below[path]: value for path, value in each.items()} for each in (table.places, table.sizes))
    return replace(table, root=images, places=places, sizes=sizes)


# Kinds of targets of the scenes in addition to labels.
SHAPE_TRUTHS: Mapping[str, Callable[[Path], Truths]] = MappingProxyType({"masks": shape_masks, "boxes": shape_boxes})
