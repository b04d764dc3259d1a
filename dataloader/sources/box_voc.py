"""Boxes in the XML of Pascal VOC, one file an image (Everingham et al., The PASCAL Visual Object Classes Challenge, 2010)."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from utils.errors import UserError


class VocBox(NamedTuple):
    """An object of a file.

    Attributes:
        name: of its class.
        corners: left, top, right, bottom, in pixels from the upper left corner of the image.
        difficult: hard to see, so that missing it is no mistake.
        line: its number in the file, from 1 on.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool
    line: int


def read_voc(file: Path, *, faults: list[str]) -> list[VocBox]:
    """Return the boxes of a file; whether objects are truncated makes no difference.

    VOC numbers pixels from 1 on, and a box includes its last ones: xmin 1 and xmax 640 cover an image of 640 pixels. A box that ends
    where it begins is a slip of the mouse, and gets no area.

    Args:
        file: XML.
        faults: takes a message for every object that cannot be used, and for a file that is no XML.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        root = ElementTree.fromstring(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    except (ElementTree.ParseError, ValueError) as error:
        faults.append(f"{file}: no XML, or cut off ({error})")
        return []
    found = []
    for number, each in enumerate(root.iter("object"), start=1):
        name, box = (each.findtext("name") or "").strip(), each.find("bndbox")
        try:
            if box is None or not name:
                raise ValueError("it has no name" if box is not None else "it has no bndbox")
            left, top, right, bottom = (float(box.findtext(key) or "") for key in ("xmin", "ymin", "xmax", "ymax"))
            difficult = float(each.findtext("difficult") or 0) != 0
        except ValueError as error:
            said = str(error) if str(error).startswith("it has") else "its bndbox lacks one of the numbers xmin, ymin, xmax and ymax"
            faults.append(f"{file}, object {number}: {said}")
            continue
        # Other programs count from 0, so that a 0 is an edge, too.
        left, top = (max(0.0, left - 1), max(0.0, top - 1)) if right > left and bottom > top else (right, bottom)
        found.append(VocBox(name, (left, top, right, bottom), difficult, number))
    return found
