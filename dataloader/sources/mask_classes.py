"""What the numbers and the colors in masks mean: the table labels.csv, or the numbers themselves."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataloader.targets.mask import IGNORE
from utils.errors import UserError, nearest

# Names of the table beside the masks, and of its columns.
TABLES = ("labels.csv", "classes.csv", "class_dict.csv")
NAMES_ALONE = ("classes.txt", "labels.txt", "names.txt")
_NAME, _ID, _COLOR = ("name", "class", "label"), ("id", "index", "value"), ("color", "colour", "rgb")
_TRUE, _FALSE = ("1", "yes", "true", "x"), ("", "0", "no", "false")
_MOST_ID = 65_535
COLUMNS = "write columns name and id, or name,r,g,b"

Color = tuple[int, int, int]


@dataclass(frozen=True)
class MaskClasses:
    """The classes of masks.

    Attributes:
        names: those that are learned, numbered from 0 on.
        ids: number in a file -> number of the class, or IGNORE.
        colors: color in a file -> number of the class, or IGNORE.
        source: the table that says so; '' where the numbers name themselves.
    """

    names: tuple[str, ...]
    ids: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[Color, int] = field(default_factory=dict)
    source: str = ""

    def of_numbers(self, values: np.ndarray, file: str) -> np.ndarray:
        """Return class numbers, uint8 or uint16 (H, W), of the integers in a file.

        Raises:
            UserError: a number has no name.
        """
        highest = max(self.ids)
        table = np.full(highest + 2, -1, np.int32)
        table[list(self.ids)] = list(self.ids.values())
        found = table[np.clip(values, -1, highest + 1)]
        if found.min(initial=0) < 0:
            raise UserError(self._unknown(np.unique(values[found < 0]), file))
        return self._narrowed(found)

    def of_colors(self, pixels: np.ndarray, file: str) -> np.ndarray:
        """Return class numbers of the colors in a file, uint8 (H, W, 3).

        Raises:
            UserError: a color has no name.
        """
        keys = _keys(pixels)
        found = np.full(keys.shape, -1, np.int32)
        for color, number in self.colors.items():
            found[keys == _keys(np.array(color))] = number
        if found.min(initial=0) < 0:
            place = np.unravel_index(int((found < 0).argmax()), found.shape)
            color = ", ".join(map(str, pixels[place].tolist()))
            raise UserError(f"{file}: the color {color} at row {place[0]}, column {place[1]} is not in {self.source}; add a line for it")
        return self._narrowed(found)

    def _narrowed(self, found: np.ndarray) -> np.ndarray:
        return found.astype(np.uint8 if len(self.names) <= IGNORE else np.uint16)

    def _unknown(self, ids: np.ndarray, file: str) -> str:
        shown = f"id {ids[0]}" if len(ids) == 1 else f"ids {', '.join(map(str, ids[:5]))}"
        has = "has no name" if len(ids) == 1 else "have no name"
        if not self.source:
            return f"{file}: {shown} {has}: no other mask of these classes holds it; write labels.csv (id,name), or --ignore {ids[0]}"
        return f"{file}: {shown} {has} in {self.source}, which names {len(self.names)} classes; add it there, or --ignore {ids[0]}"


def _keys(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])


def find_table(root: Path, folders: Sequence[Path]) -> Path | None:
    """Return the table of the classes in the data folder, or in one of its folders of masks; None without one."""
    places = [place / name for name in (*TABLES, *NAMES_ALONE) for place in (root, *folders)]
    return next((place for place in places if place.is_file()), None)


def read_classes(file: Path, ignored: Sequence[str] = ()) -> MaskClasses:
    """Return the classes that a table names.

    Args:
        file: a .csv with a header: name, and id or a color (r,g,b, or color as '#ff8800' or '255 136 0'), perhaps ignore; or a .txt with
            a name a line, numbered from 0 on.
        ignored: names, or ids, of what counts for nothing, in addition to the table's own.

    Raises:
        UserError: it cannot be read, or does not say what it must.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    if file.suffix.lower() == ".csv":
        rows = _read_table(file, text)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        rows = [_Row(name, number, None, False) for number, name in enumerate(lines)]
    if not rows:
        raise UserError(f"{file} names no classes; {COLUMNS}")
    return _numbered(rows, ignored, str(file))


def classes_of_ids(ids: Sequence[int], ignored: Sequence[str] = ()) -> MaskClasses:
    """Return classes that are named by their numbers.

    Args:
        ids: those that occur in masks, or that a model knows.
        ignored: numbers that count for nothing, also others than `ids`.

    Raises:
        UserError: `ignored` names no number.
    """
    rows = [_Row(str(number), number, None, False) for number in sorted(ids)]
    return _numbered(rows, ignored, "")


def in_order_of(classes: MaskClasses, names: Sequence[str], root: Path) -> MaskClasses:
    """Return the classes numbered as a model has them.

    Raises:
        UserError: the data has a class that the model does not know.
    """
    if unknown := [name for name in classes.names if name not in names]:
        raise UserError(
            f"{classes.source or root}: the masks hold the class {unknown[0]}, which the model does not know.{nearest(unknown[0], names)} "
            f"Classes: {', '.join(names[:10])}; --ignore leaves it out"
        )
    places = {number: names.index(name) for number, name in enumerate(classes.names)} | {IGNORE: IGNORE}
    return MaskClasses(
        tuple(names),
        {value: places[number] for value, number in classes.ids.items()},
        {color: places[number] for color, number in classes.colors.items()},
        classes.source,
    )


@dataclass(frozen=True)
class _Row:
    name: str
    id: int | None
    color: Color | None
    ignored: bool


def _read_table(file: Path, text: str) -> list[_Row]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    name = next((columns[each] for each in _NAME if each in columns), None)
    number = next((columns[each] for each in _ID if each in columns), None)
    color = next((columns[each] for each in _COLOR if each in columns), None)
    channels = [columns[each] for each in "rgb" if each in columns]
    if name is None:
        raise UserError(f"{file} has no column name; {COLUMNS}")
    rows = []
    for place, line in enumerate(reader):
        where, cells = f"{file}, line {place + 2}", {key: (value or "").strip() for key, value in line.items() if isinstance(value, str)}
        if not cells.get(name):
            raise UserError(f"{where}: no name; {COLUMNS}")
        painted = (
            _color(" ".join(cells[each] for each in channels) if len(channels) == 3 else cells[color], where) if channels or color else None
        )
        own = _number(cells.get(number, ""), where) if number else place if painted is None else None
        mark = cells.get(columns.get("ignore", ""), "").lower()
        if mark not in (*_TRUE, *_FALSE):
            raise UserError(f"{where}: ignore is '{mark}'; write 1 or 0")
        rows.append(_Row(cells[name], own, painted, mark in _TRUE))
    return rows


def _number(text: str, where: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_ID:
        raise UserError(f"{where}: the id is '{text}'; write a number from 0 to {_MOST_ID}")
    return int(text)


def _color(text: str, where: str) -> Color:
    if match := re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
        return int(match[1], 16), int(match[2], 16), int(match[3], 16)
    parts = re.findall(r"\d+", text)
    if len(parts) != 3 or max(map(int, parts)) > 255:
        raise UserError(f"{where}: the color is '{text}'; write three numbers from 0 to 255, or #rrggbb")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _numbered(rows: Sequence[_Row], ignored: Sequence[str], source: str) -> MaskClasses:
    """Return the classes of rows, by their ids where they have some, without what is ignored."""
    rows = sorted(rows, key=lambda row: -1 if row.id is None else row.id)
    known = {name for row in rows for name in (row.name, str(row.id))}
    for name in ignored:
        if name not in known and not name.isdecimal():
            raise UserError(f"--ignore {name}: the classes are {', '.join(row.name for row in rows[:10])}.{nearest(name, [*known])}")
        if name.isdecimal() and int(name) > _MOST_ID:
            raise UserError(f"--ignore {name}: ids go from 0 to {_MOST_ID}")
    left_out = [row.ignored or row.name in ignored or str(row.id) in ignored for row in rows]
    names = tuple(dict.fromkeys(row.name for row, out in zip(rows, left_out, strict=True) if not out))
    ids: dict[int, int] = {int(name): IGNORE for name in ignored if name.isdecimal()}
    if all(row.id != IGNORE for row in rows):
        ids[IGNORE] = IGNORE
    colors: dict[Color, int] = {}
    for row, out in zip(rows, left_out, strict=True):
        number = IGNORE if out else names.index(row.name)
        if row.id is not None:
            _refuse_second(row.id, ids.get(row.id, number), number, names, source)
            ids[row.id] = number
        if row.color is not None:
            _refuse_second(row.color, colors.get(row.color, number), number, names, source)
            colors[row.color] = number
    if not names:
        raise UserError(f"{source or 'the masks'}: every class is ignored; nothing is left to learn")
    if len(names) > IGNORE:
        raise UserError(f"{source or 'the masks'}: {len(names)} classes are more than the {IGNORE} that masks may have")
    return MaskClasses(names, ids, colors, source)


def _refuse_second(value: int | Color, known: int, number: int, names: Sequence[str], source: str) -> None:
    """Raise UserError for an id or a color that stands for two classes."""
    if known != number:
        first, second = (names[each] if each < len(names) else "what is ignored" for each in (known, number))
        raise UserError(f"{source}: {value} stands for two classes, {first} and {second}")
