"""Masks and boxes of the built-in scenes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from dataloader.sources.coco import BoxTable, read_coco
from dataloader.sources.masks import MaskFolder
from dataloader.sources.shapes import CLASSES, COUNTS, GROUND
from dataloader.targets.truths import Truths


def shape_masks(images: Path) -> MaskFolder:
    """Return the masks of the scenes in this folder, which `open_shapes` has written: 0 is ground, else 1 + the class."""
    return MaskFolder(images.parent / "masks", (GROUND, *CLASSES))


def shape_boxes(images: Path) -> BoxTable:
    """Return the boxes of the scenes in this folder, which `open_shapes` has written."""
    tables = [read_coco(images.parent / "boxes" / f"{name}.json", front=f"{name}/") for name in COUNTS]
    return BoxTable({path: boxes for table in tables for path, boxes in table.boxes.items()}, CLASSES)


# Kinds of targets of the scenes in addition to labels.
SHAPE_TRUTHS: Mapping[str, Callable[[Path], Truths]] = MappingProxyType({"masks": shape_masks, "boxes": shape_boxes})
