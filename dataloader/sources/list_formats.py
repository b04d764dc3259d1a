"""The formats of lists of images: CSV, TXT and JSON, each read into the same records."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from dataloader.sources.folders import SUFFIXES, is_image_name
from utils.errors import UserError, nearest
from utils.text import counted

SEPARATOR = ";"
LABEL_COLUMNS = ("labels", "label", "class")
COLUMNS = ("image", *LABEL_COLUMNS, "split", "group")
FORM = "the first line is image,label, or image,labels where an image has several; further columns may be split and group"
TXT_FORM = "write one line per image: path:label, path,label or path,label;label"
JSON_FORM = 'write [{"image": "a.jpg", "label": "cat"}, ...] or {"a.jpg": "cat", ...}'
# The character after the suffix of the first image separates path and label in the whole file.
_FIRST_LINE = re.compile(rf".*\.(?:{'|'.join(sorted(SUFFIXES))})\s*([:,\t ])\s*(.*)", re.IGNORECASE)
_COLUMN_MARKS = (",", "\t")


class Record(NamedTuple):
    """One image of a list, as it is written.

    Attributes:
        line: its number; of an entry of several lines, the last in a CSV file and the first in a JSON file.
        image: path as written.
        labels: names as written; perhaps none.
        split: as written, or None where the list has no such column.
        multi_label: whether this entry says that an image may have several labels.
        group: as written, such as the object that the image shows; '' where the list names none.
    """

    line: int
    image: str
    labels: tuple[str, ...]
    split: str | None
    multi_label: bool
    group: str = ""


@dataclass(frozen=True)
class ListFormat:
    """A format of lists.

    Attributes:
        read: (file, what the file's name says of the split) -> the records.
        recognize: whether a file begins like a list, even one with mistakes.
        form: how to write one, for messages.
    """

    read: Callable[[Path, str | None], Iterator[Record]]
    recognize: Callable[[Path], bool]
    form: str


def refuse(file: Path, line: int, what: str) -> NoReturn:
    """Raise the error that names file and line."""
    raise UserError(f"{file}, line {line}: {what}")


def read_text(file: Path) -> str:
    """Return the text of a list; a byte-order mark is dropped.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the list {file}: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(file, data[: error.start].count(b"\n") + 1, "the text is not UTF-8; save it as 'CSV UTF-8'")


def read_csv(file: Path, split: str | None, *, mark: str = ",") -> Iterator[Record]:
    """Yield the records of a table with a header; without one, of path, labels and perhaps split, in this order."""
    rows = table_rows(file, mark)
    line, header = next(rows, (1, []))
    if _is_first_image(header):
        names = ["image", "label", "split"][: max(2, len(header))]
        rows = _chained((line, header), rows)
        line = 0
    else:
        names = _check_header(file, line, header, split)
    plural = "labels" in names
    label = next(name for name in LABEL_COLUMNS if name in names)
    for line, cells in rows:
        if not cells:
            continue
        if len(cells) != len(names):
            refuse(
                file,
                line,
                f"{counted(len(cells), 'cell')} where the first line has {len(names)}; put quotes around a cell that holds a comma",
            )
        row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
        if split and "split" in row:
            refuse(file, line, f"the file's name already says that these are {split} images; leave the third column out")
        cell = row[label]
        yield Record(line, row["image"], tuple(cell.split(SEPARATOR)), row.get("split"), plural or SEPARATOR in cell, row.get("group", ""))


def read_txt(file: Path, split: str | None) -> Iterator[Record]:
    """Yield the records of lines such as 'path:label', 'path label' or 'path,label;label'."""
    first = next((line for line in read_text(file).splitlines() if line.strip()), "")
    found = _FIRST_LINE.fullmatch(first.strip("\ufeff"))
    if found is None or found.group(1) in _COLUMN_MARKS:
        mark = found.group(1) if found else next((mark for mark in _COLUMN_MARKS if mark in first), None)
        if mark is None:
            refuse(file, 1, f"'{first.strip()[:60]}' names no image and label; {TXT_FORM}")
        yield from read_csv(file, split, mark=mark)
        return
    mark = found.group(1)
    # Only these end a line; names may contain rarer separators, at which splitlines() would split.
    for line, text in enumerate(re.split(r"\r\n|\r|\n", read_text(file)), start=1):
        if not text.strip():
            continue
        image, met, cell = text.strip().rpartition(mark) if mark == " " else text.rpartition(mark)
        if not met:
            refuse(file, line, f"there is no '{mark}' between path and label, as in the first line")
        yield Record(line, image.strip(), tuple(cell.strip().split(SEPARATOR)), None, SEPARATOR in cell)


def read_json(file: Path, split: str | None) -> Iterator[Record]:
    """Yield the records of an array of objects, of one object per line, or of one object path -> label or labels."""
    for line, item in _json_items(file, read_text(file)):
        if not isinstance(item, dict):
            refuse(file, line, f"{str(item)[:40]!r} is not an object; {JSON_FORM}")
        row = {str(name).lower(): value for name, value in item.items()}
        for name in row:
            if name not in COLUMNS:
                refuse(file, line, f"unknown key '{name}'.{nearest(name, COLUMNS)} {JSON_FORM[0].upper()}{JSON_FORM[1:]}")
        owners = [name for name in LABEL_COLUMNS if name in row]
        if not isinstance(row.get("image"), str) or len(owners) != 1:
            refuse(file, line, f"an entry has one 'image' and one 'label' (or 'labels'); {JSON_FORM}")
        if split and "split" in row:
            refuse(file, line, f"the file's name already says that these are {split} images; leave the key 'split' out")
        value = row[owners[0]]
        labels = value if isinstance(value, list) else [value]
        if not all(isinstance(label, str | int) and not isinstance(label, bool) for label in labels):
            refuse(file, line, f"the label of {row['image']} is {json.dumps(value)[:40]}; write a name, or a list of names")
        multi_label = isinstance(value, list) or owners[0] == "labels"
        own_split = str(row["split"]) if "split" in row else None
        group = str(row.get("group") or "").strip()
        yield Record(line, row["image"].strip(), tuple(str(label) for label in labels), own_split, multi_label, group)


def _json_items(file: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of every entry, whichever of the three forms the file has."""
    decoder = json.JSONDecoder()
    place = 0

    def skip(marks: str) -> None:
        nonlocal place
        while place < len(text) and (text[place].isspace() or text[place] in marks):
            place += 1

    def value() -> Any:
        nonlocal place
        result, place = decoder.raw_decode(text, place)
        return result

    try:
        skip("")
        # The decoder has checked the whole file; the rest only finds the line of each entry.
        whole = json.loads(text) if not _is_lines(text) else None
        of_pairs = isinstance(whole, dict) and "image" not in whole
        skip("[" if isinstance(whole, list) else "{" if of_pairs else "")
        end = "]" if isinstance(whole, list) else "}" if of_pairs else ""
        line, counted = 1, 0
        while place < len(text) and text[place] != end:
            line, counted = line + text.count("\n", counted, place), place
            item = value()
            if of_pairs:
                skip(":")
                item = {"image": item, "label": value()}
            yield line, item
            skip(",")
    except json.JSONDecodeError as error:
        refuse(file, error.lineno, f"not valid JSON ({error.msg}); {JSON_FORM}")


def _is_lines(text: str) -> bool:
    """Whether the text holds several objects, one after the other."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.strip())
    except json.JSONDecodeError:
        return False
    return text.strip()[end:].lstrip().startswith("{")


def _check_header(file: Path, line: int, header: list[str], split: str | None) -> list[str]:
    names = [cell.strip().lower() for cell in header]
    if not any(names):
        refuse(file, line, f"there is no header; {FORM}")
    for name in names:
        if len(names) == 1 and SEPARATOR in name:
            refuse(file, line, f"'{SEPARATOR}' stands between labels, and a comma between columns; {FORM}")
        if name not in COLUMNS:
            refuse(file, line, f"unknown column '{name}'.{nearest(name, COLUMNS)} {FORM[0].upper()}{FORM[1:]}")
    if len(set(names)) < len(names):
        refuse(file, line, f"a column occurs twice; {FORM}")
    if "image" not in names or sum(name in LABEL_COLUMNS for name in names) != 1:
        refuse(file, line, f"a list has one column 'image' and one 'labels' (or 'label', 'class'), not {','.join(names)}")
    if split and "split" in names:
        refuse(file, line, f"the file's name already says that these are {split} images; leave the column 'split' out")
    return names


def table_rows(file: Path, mark: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, cells) of every row of a CSV file.

    Raises:
        UserError: the file cannot be read, or its quotes are wrong.
    """
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True, delimiter=mark)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        refuse(file, reader.line_num, f"{error}; put quotes around a whole cell, and double those inside")


def _chained(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    yield first
    yield from rest


def _is_first_image(cells: Sequence[str]) -> bool:
    """Whether a first line is already an image and not a header: its name has the suffix of one."""
    return 2 <= len(cells) <= 3 and is_image_name(cells[0].strip().rpartition("/")[2])


def _is_csv_list(file: Path) -> bool:
    try:
        _, header = next(table_rows(file, ","), (1, []))
    except UserError:
        return False
    names = {cell.strip().lower() for cell in header}
    return _is_first_image(header) or ("image" in names and bool(names & set(LABEL_COLUMNS)))


def _has_a_record(read: Callable[[Path, str | None], Iterator[Record]]) -> Callable[[Path], bool]:
    def recognize(file: Path) -> bool:
        try:
            return next(read(file, None), None) is not None
        except UserError:
            return False

    return recognize


LIST_FORMATS: Mapping[str, ListFormat] = MappingProxyType(
    {
        ".csv": ListFormat(read_csv, _is_csv_list, FORM),
        ".txt": ListFormat(read_txt, _has_a_record(read_txt), TXT_FORM),
        ".json": ListFormat(read_json, _has_a_record(read_json), JSON_FORM),
        ".jsonl": ListFormat(read_json, _has_a_record(read_json), JSON_FORM),
    }
)
