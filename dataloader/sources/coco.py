"""Boxes in the format of COCO: one JSON file with images, annotations and categories (cocodataset.org, "Data format")."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataloader.images.read import ImageError
from dataloader.targets.boxes import Boxes
from utils.errors import UserError


@dataclass(frozen=True)
class BoxTable:
    """The truths of images whose boxes are in lists.

    Attributes:
        boxes: path in a split -> boxes of the image.
        classes: names of the numbers of their classes, from 0 on.
    """

    boxes: Mapping[str, Boxes]
    classes: tuple[str, ...]

    def read(self, path: str) -> Boxes:
        """Return the boxes of an image.

        Raises:
            ImageError: no list names it.
        """
        if path not in self.boxes:
            raise ImageError(path, "no list of boxes names it")
        return self.boxes[path]

    def nothing(self) -> Boxes:
        """Return no boxes, for an image of one pixel."""
        return Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64), (1, 1))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return the boxes of every class in some images, int64 (C,)."""
        found = [self.boxes[path].classes for path in paths if path in self.boxes]
        return np.bincount(np.concatenate([np.empty(0, np.int64), *found]), minlength=len(self.classes))


def read_coco(file: Path, *, front: str = "") -> BoxTable:
    """Return the boxes of a file. Classes are numbered from 0 on in the order of their ids; crowds are left out.

    Args:
        file: to be read.
        front: prefix of the images' names in the paths of a split.

    Raises:
        UserError: it cannot be read, or is not in this format.
    """
    try:
        content = json.loads(file.read_bytes())
        categories = sorted(content["categories"], key=lambda each: each["id"])
        numbers = {each["id"]: number for number, each in enumerate(categories)}
        found: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd"):
                found[annotation["image_id"]].append(annotation)
        boxes = {front + image["file_name"]: _boxes(found[image["id"]], image, numbers) for image in content["images"]}
        return BoxTable(boxes, tuple(str(each["name"]) for each in categories))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except KeyError as error:
        raise UserError(f"{file} is not in the format of COCO: it has no {error} where one is needed") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not in the format of COCO: {error}") from error


def _boxes(annotations: list[dict[str, Any]], image: Mapping[str, Any], numbers: Mapping[Any, int]) -> Boxes:
    corners = np.array([each["bbox"] for each in annotations], np.float64).reshape(-1, 4)
    # COCO's order: left, top, width, height.
    corners[:, 2:] += corners[:, :2]
    classes = np.array([numbers[each["category_id"]] for each in annotations], np.int64)
    return Boxes(corners.astype(np.float32), classes, (int(image["height"]), int(image["width"])))
