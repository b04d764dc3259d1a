"""Masks and boxes of the built-in scenes, and masks of the defects of the anomaly data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dataloader.sources.coco import BoxTable, read_coco
from dataloader.sources.masks import MaskFolder, read_mask
from dataloader.sources.shapes import CLASSES, COUNTS, GROUND, SIDE, open_shapes
from dataloader.splits.split import Catalog, Split
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.truths import Truths

GOOD, DEFECT = "good", "defect"


def shape_masks(images: Path) -> MaskFolder:
    """Return the masks of the scenes in this folder, which `open_shapes` has written: 0 is ground, else 1 + the class."""
    return MaskFolder(images.parent / "masks", (GROUND, *CLASSES))


def shape_boxes(images: Path) -> BoxTable:
    """Return the boxes of the scenes in this folder, which `open_shapes` has written."""
    tables = [read_coco(images.parent / "boxes" / f"{name}.json", front=f"{name}/") for name in COUNTS]
    return BoxTable({path: boxes for table in tables for path, boxes in table.boxes.items()}, CLASSES)


# Kinds of targets of the scenes in addition to labels.
SHAPE_TRUTHS: Mapping[str, Callable[[Path], Truths]] = MappingProxyType({"masks": shape_masks, "boxes": shape_boxes})


@dataclass(frozen=True)
class DefectMasks:
    """The truths of the anomaly data, in the layout of MVTec AD: 1 where a defect is, in a file for each image that has one.

    Attributes:
        folder: with train/, test/ and ground_truth/.
        classes: names of the numbers.
    """

    folder: Path
    classes: tuple[str, ...] = (GOOD, DEFECT)

    def read(self, path: str) -> Mask:
        """Return the mask of an image.

        Raises:
            ImageError: it is missing or damaged.
        """
        _, kind, name = path.split("/")
        if kind == GOOD:
            return Mask(np.zeros((SIDE, SIDE), np.uint8))
        ids = read_mask(self.folder / "ground_truth" / kind / f"{Path(name).stem}_mask.png")
        return Mask((ids > 0).astype(np.uint8))

    def nothing(self) -> Mask:
        """Return a mask of one unlabeled pixel."""
        return Mask(np.full((1, 1), IGNORE, np.uint8))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the pixels of both classes in the masks of some images, int64 (2,)."""
        return sum((np.bincount(self.read(path).ids.ravel(), minlength=2) for path in paths), np.zeros(2, np.int64))


def open_defects(home: Path) -> Catalog:
    """Return the folder of the anomaly data below `home`: good scenes for training, good and defective ones for testing, with masks.

    Raises:
        UserError: it cannot be written.
    """
    folder = open_shapes(home).parent / "defects"
    splits = {}
    for name in ("train", "test"):
        paths = tuple(sorted(file.relative_to(folder).as_posix() for file in (folder / name).glob("*/*.png")))
        targets = np.array([path.split("/")[1] != GOOD for path in paths], np.int64)
        splits[name] = Split(name, folder, paths, targets, truths=DefectMasks(folder))
    return Catalog(folder, (GOOD, DEFECT), splits)
