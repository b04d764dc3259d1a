"""Files next to the images with numbers for each image: probabilities of a teacher, weights of a curriculum.

A sidecar is text: facts (metadata) on lines that begin with '#', then CSV of a path and numbers. Paths are relative to the data folder.

    # teacher: "runs/classify/NAME/best.pt"
    path,cat,dog
    train/cat/1.jpg,0.93,0.07

A file without the header, `path value` or `path,value` a line, is read, too; the caller logs how it was understood.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from dataloader.splits.catalog import name_some
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import write_text
from utils.text import counted

PATH = "path"
WEIGHT = "weight"


@dataclass(frozen=True, eq=False)
class Sidecar:
    """The content of a sidecar file.

    Attributes:
        file: where it was read.
        facts: its metadata.
        columns: names of the numbers.
        paths: N images, each once.
        values: float64 (N, columns).
        lines: the line of every image, for messages.
        headed: whether a header names the columns; else they are called '1', '2', ..., or a single one WEIGHT.
    """

    file: Path
    facts: Mapping[str, Any]
    columns: tuple[str, ...]
    paths: tuple[str, ...]
    values: np.ndarray
    lines: tuple[int, ...]
    headed: bool = True

    def refuse(self, row: int, what: str) -> NoReturn:
        """Raise UserError about a row."""
        _refuse(self.file, self.lines[row], f"{self.paths[row]}: {what}")


def write_sidecar(file: Path, columns: Sequence[str], paths: Sequence[str], values: np.ndarray, *, facts: Mapping[str, Any]) -> None:
    """Write numbers (N, columns) for N paths, with enough digits to restore float32 exactly; the file appears whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    assert values.shape == (len(paths), len(columns)), "one row per path, one number per column"
    text = io.StringIO()
    for name, value in facts.items():
        # JSON keeps any value on one line.
        text.write(f"# {name}: {json.dumps(value)}\n")
    # Before Python 3.13 a carriage return alone was written without quotes.
    quoting = csv.QUOTE_NONNUMERIC if any("\r" in name for name in (*columns, *paths)) else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)
    writer.writerow([PATH, *columns])
    writer.writerows([path, *(float(f"{value:.9g}") for value in row)] for path, row in zip(paths, values.tolist(), strict=True))
    write_text(file, text.getvalue())


def read_sidecar(file: Path) -> Sidecar:
    """Read a sidecar of `write_sidecar`, of a person, or of another program without a header.

    Raises:
        UserError: the file is missing, or a line of it cannot be used; file and line are named.
    """
    facts, skipped, body = _open(file)
    bare = _bare_form(body)
    if bare is not None:
        header = [PATH, WEIGHT] if bare.numbers == 1 else [PATH, *(str(number + 1) for number in range(bare.numbers))]
        records = _records(file, skipped, body) if bare.by_commas else _spaced_records(skipped, body, bare.numbers)
    else:
        records = _records(file, skipped, body)
        line, header = next(records, (skipped + 1, []))
        header = [PATH, WEIGHT] if [name.strip() for name in header] == [PATH, WEIGHT] else header
        if len(header) < 2 or header[0] != PATH:
            form = f"{PATH},{WEIGHT} or {PATH},CLASS,CLASS,..., or already a path and its numbers"
            _refuse(file, line, f"the first line that is not a comment must be {form}")
    paths: dict[str, int] = {}
    values = []
    for line, cells in records:
        if not cells:
            continue
        if len(cells) != len(header):
            remedy = "comments belong above the header" if cells[0].startswith("#") else "put quotes around a path that holds a comma"
            model = "header" if bare is None else "first line"
            _refuse(file, line, f"{counted(len(cells), 'cell')} where the {model} has {len(header)}; {remedy}")
        if cells[0] in paths:
            _refuse(file, line, f"{cells[0]} is listed twice, first in line {paths[cells[0]]}")
        paths[cells[0]] = line
        values.append(_numbers(file, line, header, cells))
    if not paths:
        raise UserError(f"{file} lists no images")
    return Sidecar(file, facts, tuple(header[1:]), tuple(paths), np.array(values), tuple(paths.values()), bare is None)


def read_facts(file: Path) -> dict[str, Any]:
    """Return the facts in the comments of a sidecar."""
    return _open(file)[0]


def check_classes(given: Sequence[str], classes: Sequence[str], *, source: str) -> None:
    """Raise UserError when the classes of `source` differ from those of the data, also in their order."""
    if tuple(given) == tuple(classes):
        return
    if sorted(given) == sorted(classes):
        remedy = f"this data: {name_some(classes)}; bring them into one order"
        raise UserError(f"{source} has the classes in another order ({name_some(given)}) than {remedy}")
    odd = [f"without {name_some(missing)}" for missing in [[name for name in classes if name not in given]] if missing]
    odd += [f"with {name_some(unknown)}" for unknown in [[name for name in given if name not in classes]] if unknown]
    raise UserError(f"{source} was made for other classes than this data has: {', '.join(odd) or 'one is named twice'}")


def unknown_images(paths: Sequence[str], splits: Mapping[str, Split]) -> list[str]:
    """Return the paths that are in no split."""
    known = {path for split in splits.values() for path in split.paths}
    return [path for path in paths if path not in known]


def _open(file: Path) -> tuple[dict[str, Any], int, str]:
    """Return the facts, the number of their lines, and the text below."""
    try:
        # File names need not be UTF-8; their bytes are kept.
        text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from error
    facts: dict[str, Any] = {}
    skipped = 0
    while text.startswith("#"):
        line, _, text = text.partition("\n")
        skipped += 1
        name, colon, value = line[1:].partition(":")
        if colon:
            try:
                facts[name.strip()] = json.loads(value)
            except ValueError:
                facts[name.strip()] = value.strip()
    return facts, skipped, text


class _Bare(NamedTuple):
    """The format of lines without a header: how many numbers, and the separator."""

    numbers: int
    by_commas: bool


def _bare_form(body: str) -> _Bare | None:
    """Return the format of a file whose first line is already a path and its numbers; None for one with a header."""
    first = next((line for line in body.splitlines() if line.strip()), "")
    cells = next(csv.reader([first]))
    if cells[1:] and all(map(_is_number, cells[1:])) and cells[0] != PATH:
        return _Bare(len(cells) - 1, by_commas=True)
    words = first.split()
    numbers = next((place for place, word in enumerate(reversed(words)) if not _is_number(word)), len(words))
    return _Bare(numbers, by_commas=False) if 0 < numbers < len(words) else None


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word)) and "_" not in word
    except ValueError:
        return False


def _spaced_records(skipped: int, body: str, numbers: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line, path and numbers) of lines with spaces or tabs between them; a path may hold spaces."""
    for line, text in enumerate(body.split("\n"), start=skipped + 1):
        yield line, text.strip().rsplit(maxsplit=numbers) if text.strip() else []


def _records(file: Path, skipped: int, body: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of every record below the facts."""
    reader = csv.reader(io.StringIO(body, newline=""), strict=True)
    first = skipped + 1
    try:
        for cells in reader:
            yield first, cells
            first = skipped + reader.line_num + 1
    except csv.Error as error:
        _refuse(file, first, f"{error}; put quotes around a whole cell, and double those inside")


def _numbers(file: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> list[float]:
    numbers = []
    for name, cell in zip(header[1:], cells[1:], strict=True):
        try:
            # Python reads 1_0 as ten.
            number = math.nan if "_" in cell else float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            remedy = "; comments belong above the header" if cells[0].startswith("#") else ""
            _refuse(file, line, f"'{cell}' is not a number for {name}{remedy}")
        numbers.append(number)
    return numbers


def _refuse(file: Path, line: int, what: str) -> NoReturn:
    raise UserError(f"{file}, line {line}: {what}")
