"""Boxes as files of other programs: YOLO, Pascal VOC, COCO, corners with labels.txt, and tables. `box_sets.py` reads all of them."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from xml.sax.saxutils import escape

import yaml

from dataloader.splits.catalog import Catalog
from dataloader.targets.boxes import Boxes
from utils.files import write_text


class BoxedImage(NamedTuple):
    """An image of the new data set.

    Attributes:
        split, index: where it comes from.
        name: file name, whose stem no other image has.
        boxes: in pixels of the image.
    """

    split: str
    index: int
    name: str
    boxes: Boxes

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0]


class BoxFormat(NamedTuple):
    """A format of boxes.

    Attributes:
        title: for people.
        place: where an image goes.
        write: writes the files of boxes of (images, classes) into a folder.
        crowds: whether it can mark boxes that are neither learned nor counted.
    """

    title: str
    place: Callable[[BoxedImage], str]
    write: Callable[[Sequence[BoxedImage], Sequence[str], Path], None]
    crowds: bool = False


def plan_images(catalog: Catalog) -> Iterator[BoxedImage]:
    """Yield the images of a catalog with their boxes and new names: their own, with a hash of the path where two would be equal.

    Raises:
        ImageError: an image whose size is needed cannot be read.
    """
    members = [(split, index, path) for split in catalog.splits.values() for index, path in enumerate(split.paths)]
    taken = Counter(Path(path).stem.casefold() for _, _, path in members)
    for split, index, path in members:
        stem, suffix = Path(path).stem, Path(path).suffix
        if taken[stem.casefold()] > 1:
            stem += "-" + hashlib.blake2b(path.encode(errors="surrogateescape"), digest_size=5).hexdigest()
        boxes = split.target(index)
        assert isinstance(boxes, Boxes)
        yield BoxedImage(split.name, index, stem + suffix, boxes)


def _number(value: float) -> str:
    """Return a number by so many digits that the pixel, of 24 bits, is the same when it is read."""
    return f"{value:.10g}"


def _in_splits(image: BoxedImage) -> str:
    return f"images/{image.split}/{image.name}"


def _write_yolo(images: Sequence[BoxedImage], classes: Sequence[str], folder: Path) -> None:
    for image in images:
        height, width = image.boxes.size
        lines = []
        for (left, top, right, bottom), number in _plain(image.boxes):
            center = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
            lines.append(f"{number} {' '.join(map(_number, center))}\n")
        _put(folder / "labels" / image.split / f"{image.stem}.txt", "".join(lines))
    splits = {split: f"images/{split}" for split in dict.fromkeys(image.split for image in images)}
    _put(folder / "data.yaml", yaml.safe_dump({**splits, "names": dict(enumerate(classes))}, sort_keys=False, allow_unicode=True))


def _write_voc(images: Sequence[BoxedImage], classes: Sequence[str], folder: Path) -> None:
    for image in images:
        (height, width), boxes = image.boxes.size, image.boxes
        objects = []
        for (left, top, right, bottom), number, crowd in zip(
            *(each.tolist() for each in (boxes.corners, boxes.classes, boxes.crowd)), strict=True
        ):
            # VOC counts from 1 and includes the last pixel.
            sides = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
            corners = "".join(f"<{key}>{_number(value)}</{key}>" for key, value in sides.items())
            objects.append(
                f"  <object>\n    <name>{escape(str(classes[number]))}</name>\n    <truncated>0</truncated>\n"
                f"    <difficult>{int(crowd)}</difficult>\n    <bndbox>{corners}</bndbox>\n  </object>\n"
            )
        size = f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        text = f"<annotation>\n  <filename>{escape(image.name)}</filename>\n{size}{''.join(objects)}</annotation>\n"
        _put(folder / "Annotations" / f"{image.stem}.xml", text)
    _write_lists(images, folder / "ImageSets" / "Main")


def _write_coco(images: Sequence[BoxedImage], classes: Sequence[str], folder: Path) -> None:
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    for split in dict.fromkeys(image.split for image in images):
        listed, annotations = [], []
        for number, image in enumerate((each for each in images if each.split == split), start=1):
            (height, width), boxes = image.boxes.size, image.boxes
            listed.append({"id": number, "file_name": image.name, "width": width, "height": height})
            rows = zip(*(each.tolist() for each in (boxes.corners, boxes.classes, boxes.crowd, boxes.areas)), strict=True)
            for (left, top, right, bottom), kind, crowd, area in rows:
                bbox = [float(_number(value)) for value in (left, top, right - left, bottom - top)]
                more = {"bbox": bbox, "area": float(_number(area)), "iscrowd": int(crowd)}
                annotations.append({"id": 1 + len(annotations), "image_id": number, "category_id": kind + 1, **more})
        content = {"images": listed, "annotations": annotations, "categories": categories}
        _put(folder / "annotations" / f"instances_{split}.json", json.dumps(content) + "\n")


def _write_corners(images: Sequence[BoxedImage], classes: Sequence[str], folder: Path) -> None:
    for image in images:
        height, width = image.boxes.size
        shares = [
            ((left / width, top / height, right / width, bottom / height), kind) for (left, top, right, bottom), kind in _plain(image.boxes)
        ]
        lines = [f"{' '.join(map(_number, corners))} {kind}\n" for corners, kind in shares] or ["0 0 0 0 0\n"]
        _put(folder / "labels" / f"{image.stem}.txt", "".join(lines))
    _put(folder / "labels.txt", "".join(f"{name}:{number}\n" for number, name in enumerate(classes)))
    _write_lists(images, folder)


def _write_table(images: Sequence[BoxedImage], classes: Sequence[str], folder: Path) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "x1", "y1", "x2", "y2", "class", "split"))
    for image in images:
        rows = [(*map(_number, corners), classes[number]) for corners, number in _plain(image.boxes)]
        table.writerows((_in_splits(image), *row, image.split) for row in rows or [("",) * 5])
    _put(folder / "boxes.csv", text.getvalue())


def _write_lists(images: Sequence[BoxedImage], folder: Path) -> None:
    for split in dict.fromkeys(image.split for image in images):
        _put(folder / f"{split}.txt", "".join(f"{image.stem}\n" for image in images if image.split == split))


def _plain(boxes: Boxes) -> Iterator[tuple[list[float], int]]:
    """Yield corners and class of all boxes but crowds."""
    own = boxes.chosen(~boxes.crowd)
    return zip(own.corners.tolist(), own.classes.tolist(), strict=True)


def _put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


BOX_FORMATS: Mapping[str, BoxFormat] = MappingProxyType(
    {
        "yolo": BoxFormat("YOLO", _in_splits, _write_yolo),
        "voc": BoxFormat("Pascal VOC", lambda image: f"JPEGImages/{image.name}", _write_voc, crowds=True),
        "coco": BoxFormat("COCO", lambda image: f"images/{image.split}/{image.name}", _write_coco, crowds=True),
        "corners": BoxFormat("corners in shares", lambda image: f"images/{image.name}", _write_corners),
        "csv": BoxFormat("a table", _in_splits, _write_table),
    }
)
