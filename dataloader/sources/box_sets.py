"""Opens images with boxes: which files hold them, what their classes are called, and which images belong to which split."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dataloader.sources.box_coco import read_coco
from dataloader.sources.box_csv import CsvRow, is_box_list, read_csv
from dataloader.sources.box_layouts import YoloYaml, find_box_pairs, find_box_root, find_yaml, pairs_of_yaml, read_yaml
from dataloader.sources.box_table import BoxRow, BoxRows, BoxTable, joined, rows_of
from dataloader.sources.box_text import Order, read_text
from dataloader.sources.box_voc import VocBox, read_voc
from dataloader.sources.coco_files import find_coco, image_folder
from dataloader.sources.folders import SPLIT_FOLDERS
from dataloader.sources.mask_classes import find_table, read_classes
from dataloader.sources.mask_layouts import SPLITS, Pairs
from dataloader.sources.truth_set import TruthSet
from dataloader.targets.mask import IGNORE
from dataloader.truth_reading import TruthReading
from utils.errors import UserError
from utils.text import counted

LAYOUT = (
    "images/ and labels/*.txt with data.yaml (YOLO), JPEGImages/ and Annotations/*.xml (Pascal VOC), annotations/*.json (COCO), images/ "
    "and labels/*.txt with labels.txt of name:id, or a table FILE.csv of path,x1,y1,x2,y2,class"
)
# A line of labels.txt where the class stands behind the corners.
_NUMBERED = re.compile(r"\s*(.+?)\s*:\s*(\d+)\s*")


def open_boxes(place: Path, reading: TruthReading, classes: Sequence[str] | None = None, *, tolerant: bool = False) -> TruthSet:
    """Return the images of a folder, a data.yaml, a JSON file of COCO, or a table, with their boxes.

    Args:
        place: the folder, the folder images/ in it, or the file.
        reading: where classes are named, and what an image without a file of boxes means.
        classes: names that a model already knows, in its order.
        tolerant: leave out images without a file of boxes, and lines that cannot be used, in place of an error.

    Raises:
        UserError: there are none, an image has no file, a line cannot be used, or the classes are not known.
    """
    if reading.ignore:
        raise UserError("--ignore is for masks; boxes that count for nothing are COCO's iscrowd, or difficult in Pascal VOC")
    found = (
        _from_file(place, reading, tolerant=tolerant) if place.is_file() else _from_folder(find_box_root(place), reading, tolerant=tolerant)
    )
    table = found.truths
    assert isinstance(table, BoxTable)
    if found.faults and not tolerant:
        more = f"; {len(found.faults) - 1} more such lines, see --check" if found.faults[1:] else ""
        raise UserError(found.faults[0] + more)
    notes = [*found.notes]
    if len(flat := table.without_area) and not tolerant:
        notes.append(f"{counted(len(flat), 'box has', 'boxes have')} no area, such as {table.place_of(int(flat[0]))}; not used")
    if classes is not None:
        table = _in_order_of(table, classes)
    return replace(found, truths=table, notes=tuple(notes))


def looks_like_boxes(place: Path) -> bool:
    """Whether a folder or a file holds boxes and nothing else, so that no task need be named."""
    if place.is_file():
        return is_box_list(place)
    if not place.is_dir():
        return False
    root = find_box_root(place)
    if any(is_box_list(file) for file in root.glob("*.csv")):
        return True
    folders = {entry.name.lower() for entry in root.iterdir() if entry.is_dir()}
    if "annotations" in folders and "jpegimages" in folders:
        return "segmentationclass" not in folders and next((root / "Annotations").glob("*.xml"), None) is not None
    if "labels" not in folders or "images" not in folders:
        return False
    first = next((line for file in sorted((root / "labels").rglob("*.txt"))[:50] for line in _first_line(file)), "")
    return len(first.split()) == 5


def _first_line(file: Path) -> list[str]:
    try:
        with open(file, encoding="utf-8") as opened:
            return [line] if (line := opened.readline()).strip() else []
    except (OSError, UnicodeDecodeError):
        return []


def _from_file(file: Path, reading: TruthReading, *, tolerant: bool) -> TruthSet:
    if file.suffix.lower() in (".yaml", ".yml"):
        if (found := read_yaml(file)) is None:
            raise UserError(f"{file} names no classes; write names: [...]")
        return _from_yaml(found, reading, tolerant=tolerant)
    if file.suffix.lower() == ".json":
        root = file.parent.parent if file.parent.name.lower() == "annotations" else file.parent
        return _from_coco(root, [("", file)], reading)
    if file.suffix.lower() == ".csv":
        return _from_csv(file.parent, [("", file)])
    raise UserError(f"--data {file} is no file of boxes. Expected {LAYOUT}")


def _from_folder(root: Path, reading: TruthReading, *, tolerant: bool) -> TruthSet:
    if tables := _csv_files(root):
        return _from_csv(root, tables)
    if (pairs := find_box_pairs(root, ".xml")) is not None:
        return _from_voc(pairs, reading, tolerant=tolerant)
    table = Path(reading.labels).expanduser() if reading.labels is not None else root / "labels.txt"
    if (numbers := _numbered_names(table)) and (pairs := find_box_pairs(root, ".txt")) is not None:
        return _from_text(pairs, reading, "corners", numbers, str(table), tolerant=tolerant)
    if (found := find_yaml(root)) is not None and reading.labels is None:
        return _from_yaml(found, reading, tolerant=tolerant)
    if (pairs := find_box_pairs(root, ".txt")) is not None:
        names, source = _table_names(pairs, reading)
        return _from_text(pairs, reading, "yolo", names, source, tolerant=tolerant)
    if files := find_coco(root):
        return _from_coco(root, files, reading)
    raise UserError(f"--data {root} holds no images with boxes. Expected {LAYOUT}; try --task detect --data shapes")


def _with_files(
    pairs: Pairs, reading: TruthReading, what: str, *, tolerant: bool
) -> tuple[dict[str, list[str]], list[str], tuple[str, ...]]:
    """Return split -> images that are used, notes, and the images without a file; `what` is such a file.

    Raises:
        UserError: an image has no file, and nothing says that this means something.
    """
    missing = tuple(path for paths in pairs.images.values() for path in paths if path not in pairs.files)
    notes = []
    if missing and not reading.empty:
        line = f"{counted(len(missing), 'image has', 'images have')} no {what}, such as {pairs.root / missing[0]}"
        if not tolerant:
            raise UserError(f"{line}; add empty files where nothing is to be found, or --missing_is_empty")
    # --check names each of them.
    if pairs.alone and not tolerant:
        notes.append(f"{counted(len(pairs.alone), f'{what} has', f'{what}s have')} no image, such as {pairs.alone[0]}; not used")
    if pairs.bare:
        notes.append(f"{' and '.join(pairs.bare)} {'have' if pairs.bare[1:] else 'has'} no folder of {what}s; not used")
    left_out = frozenset(() if reading.empty else missing)
    kept = {split: [path for path in paths if path not in left_out] for split, paths in pairs.images.items()}
    if empty := [split for split, paths in kept.items() if not paths]:
        raise UserError(f"{pairs.root}: {empty[0] or 'the data set'} holds no images with a {what}")
    return kept, notes, missing


def _from_text(pairs: Pairs, reading: TruthReading, order: Order, names: Mapping[int, str], source: str, *, tolerant: bool) -> TruthSet:
    images, notes, missing = _with_files(pairs, reading, "text file of boxes", tolerant=tolerant)
    numbers = {key: number for number, key in enumerate(names)}
    faults: list[str] = []

    def rows(path: str) -> BoxRows:
        if path not in pairs.files:
            return rows_of(())
        return read_text(pairs.root / pairs.files[path], order, numbers, source, faults=faults)

    places, whole = joined((path, rows(path)) for path in dict.fromkeys(path for members in images.values() for path in members))
    more = {"files": pairs.files, "unlabeled": missing, "alone": pairs.alone}
    return TruthSet(
        pairs.root, images, BoxTable(pairs.root, tuple(names.values()), places, whole, in_shares=True, **more), tuple(notes), tuple(faults)
    )


def _from_yaml(found: YoloYaml, reading: TruthReading, *, tolerant: bool) -> TruthSet:
    pairs = pairs_of_yaml(found) if found.places else find_box_pairs(found.base, ".txt")
    if pairs is None or not any(pairs.images.values()):
        raise UserError(f"{found.file} names no images with text files of boxes; write train: and val: with their folders")
    return _from_text(pairs, reading, "yolo", found.names, str(found.file), tolerant=tolerant)


def _table_names(pairs: Pairs, reading: TruthReading) -> tuple[dict[int, str], str]:
    """Return class in text files -> name, by a table beside them, and the table.

    Raises:
        UserError: there is none, or it does not say that.
    """
    table = Path(reading.labels).expanduser() if reading.labels is not None else find_table(pairs.root, pairs.folders)
    if table is None:
        raise UserError(f"{pairs.root} holds boxes in text files, and nothing names their classes: write data.yaml with names: [...]")
    coding = read_classes(table)
    known = {value: number for value, number in coding.ids.items() if value != IGNORE}
    if not known or IGNORE in known.values():
        raise UserError(f"{table} is to give a number to each class of boxes, by the columns id and name, without the column ignore")
    return {value: coding.names[number] for value, number in sorted(known.items(), key=lambda pair: pair[1])}, str(table)


def _numbered_names(table: Path) -> dict[int, str]:
    """Return class -> name of a file with lines name:id; nothing where it has others."""
    if not table.is_file() or table.suffix.lower() != ".txt":
        return {}
    try:
        lines = [line for line in table.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return {}
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    return dict(sorted((int(match[2]), match[1]) for match in matches if match)) if all(matches) else {}


def _from_voc(pairs: Pairs, reading: TruthReading, *, tolerant: bool) -> TruthSet:
    images, notes, missing = _with_files(pairs, reading, "XML file", tolerant=tolerant)
    faults: list[str] = []
    found: dict[str, list[VocBox]] = {}
    for path in dict.fromkeys(path for members in images.values() for path in members):
        found[path] = read_voc(pairs.root / pairs.files[path], faults=faults) if path in pairs.files else []
    names = tuple(sorted({box.name for boxes in found.values() for box in boxes}))
    numbers = {name: number for number, name in enumerate(names)}
    rows = (
        (path, rows_of([BoxRow(box.corners, numbers[box.name], box.line, box.difficult) for box in boxes])) for path, boxes in found.items()
    )
    places, whole = joined(rows)
    table = BoxTable(pairs.root, names, places, whole, files=pairs.files, unit="object", unlabeled=missing, alone=pairs.alone)
    return TruthSet(pairs.root, images, table, tuple(notes), tuple(faults))


def _from_coco(root: Path, files: Sequence[tuple[str, Path]], reading: TruthReading) -> TruthSet:
    if reading.labels:
        raise UserError(f"--labels is for boxes in text files; {files[0][1]} names its own classes")
    images: dict[str, list[str]] = {}
    found: dict[str, BoxRows] = {}
    sizes, sources = {}, {}
    names: tuple[str, ...] = ()
    for split, file in files:
        content = read_coco(file)
        if names and content.classes != names:
            raise UserError(f"{file} names other categories than {files[0][1]}")
        names, folder = content.classes, image_folder(root, split, file, next(iter(content.sizes), None))
        for name in sorted(content.sizes):
            place = folder / name
            # A file may name images elsewhere, by whole paths.
            path = (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()
            images.setdefault(split, []).append(path)
            found[path], sizes[path], sources[path] = content.boxes[name], content.sizes[name], file.relative_to(root).as_posix()
    places, rows = joined(found.items())
    return TruthSet(root, images, BoxTable(root, names, places, rows, sizes=sizes, files=sources, unit="annotation"))


def _csv_files(root: Path) -> list[tuple[str, Path]]:
    """Return (split, table) of the tables of boxes in a folder: train.csv, val.csv and test.csv, or a single one."""
    tables = [file for file in sorted(root.glob("*.csv")) if is_box_list(file)]
    named = {SPLIT_FOLDERS[file.stem.lower()]: file for file in tables if file.stem.lower() in SPLIT_FOLDERS}
    if not named and len(tables) > 1:
        raise UserError(f"{root} holds {len(tables)} tables of boxes, such as {tables[0].name}; name one: --data {tables[0]}")
    return [(split, named[split]) for split in SPLITS if split in named] or [("", file) for file in tables]


def _from_csv(root: Path, files: Sequence[tuple[str, Path]]) -> TruthSet:
    faults: list[str] = []
    splits: dict[str, str] = {}
    found: dict[str, list[CsvRow]] = {}
    sources: dict[str, str] = {}
    for split, file in files:
        for row in read_csv(file, faults=faults):
            place = SPLIT_FOLDERS.get(row.split.lower(), "") if row.split else split
            if row.split and not place:
                faults.append(f"{file}, line {row.line}: the split is {row.split}; write train, val or test")
                continue
            path = Path(row.path).as_posix().removeprefix("./")
            if path not in found:
                if not (root / path).is_file():
                    faults.append(f"{file}, line {row.line}: there is no image {path}; mend the line, or remove it")
                    continue
                found[path], sources[path] = [], file.relative_to(root).as_posix()
                splits[path] = place
            elif splits[path] != place:
                faults.append(f"{file}, line {row.line}: {path} is in two splits; keep it in one")
                continue
            if row.name:
                found[path].append(row)
    if not found:
        raise UserError(faults[0] if faults else f"{files[0][1]} names no images")
    images = {split: sorted(path for path in found if splits[path] == split) for split in dict.fromkeys(splits.values())}
    if "" in images and len(images) > 1:
        raise UserError(f"{sources[images[''][0]]} gives {images[''][0]} no split, and others one; fill the column, or leave it out")
    names = tuple(sorted({row.name for rows in found.values() for row in rows}))
    numbers = {name: number for number, name in enumerate(names)}
    places, rows = joined(
        (path, rows_of([BoxRow(row.corners, numbers[row.name], row.line) for row in rows])) for path, rows in found.items()
    )
    table = BoxTable(root, names, places, rows, files=sources)
    return TruthSet(root, images, table, (), tuple(faults))


def _in_order_of(table: BoxTable, classes: Sequence[str]) -> BoxTable:
    """Return the table with the classes that a model knows, in its order.

    Raises:
        UserError: a box has a class that the model does not know.
    """
    known = {name: number for number, name in enumerate(classes)}
    numbers = np.array([known.get(name, -1) for name in table.classes] or [0], np.int64)
    mapped = numbers[table.rows.classes]
    if (mapped < 0).any():
        row = int((mapped < 0).argmax())
        name = table.classes[table.rows.classes[row]]
        raise UserError(f"{table.place_of(row)}: the class is {name}, which the model does not know; it knows {', '.join(classes[:10])}")
    return replace(table, classes=tuple(classes), rows=table.rows._replace(classes=mapped))
