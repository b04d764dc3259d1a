"""Boxes in the format of COCO: one JSON file with images, annotations and categories (cocodataset.org, "Data format")."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dataloader.sources.box_table import BoxRow, BoxRows, rows_of
from dataloader.targets.plane_change import Size
from utils.errors import UserError


class CocoBoxes(NamedTuple):
    """What a file says.

    Attributes:
        boxes: name of an image -> its boxes.
        sizes: name of an image -> (H, W).
        classes: names of the categories by their ids, numbered from 0 on.
    """

    boxes: Mapping[str, BoxRows]
    sizes: Mapping[str, Size]
    classes: tuple[str, ...]


def read_coco(file: Path) -> CocoBoxes:
    """Return the boxes of a file, crowds among them. Classes are numbered from 0 on in the order of their ids.

    Raises:
        UserError: it cannot be read, or is not in this format.
    """
    try:
        content = json.loads(file.read_bytes())
        categories = sorted(content["categories"], key=lambda each: each["id"])
        numbers = {each["id"]: number for number, each in enumerate(categories)}
        found: dict[Any, list[BoxRow]] = {image["id"]: [] for image in content["images"]}
        for place, annotation in enumerate(content["annotations"], start=1):
            if annotation["image_id"] not in found:
                raise UserError(
                    f"{file}: annotation {annotation.get('id', place)} is of image {annotation['image_id']}, which is not listed"
                )
            if annotation["category_id"] not in numbers:
                raise UserError(
                    f"{file}: annotation {annotation.get('id', place)} is of category {annotation['category_id']}, which has no name"
                )
            found[annotation["image_id"]].append(_row(annotation, numbers, place))
        boxes = {str(image["file_name"]): rows_of(found[image["id"]]) for image in content["images"]}
        sizes = {str(image["file_name"]): (int(image["height"]), int(image["width"])) for image in content["images"]}
        return CocoBoxes(boxes, sizes, tuple(str(each["name"]) for each in categories))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is not in the format of COCO: {error}; it is damaged, or was cut off") from error
    except KeyError as error:
        raise UserError(f"{file} is not in the format of COCO: it has no {error} where one is needed") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not in the format of COCO: {error}") from error


def _row(annotation: Mapping[str, Any], numbers: Mapping[Any, int], place: int) -> BoxRow:
    # COCO's order: left, top, width, height.
    left, top, width, height = map(float, annotation["bbox"])
    area, crowd = annotation.get("area"), bool(annotation.get("iscrowd"))
    told = float("nan") if area is None else float(area)
    return BoxRow((left, top, left + width, top + height), numbers[annotation["category_id"]], place, crowd, told)
