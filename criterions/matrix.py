"""Cost matrices, threshold matrices and class weights as CSV files whose header names the classes.

class,cat,dog        bound,class,cat,dog        class,weight
cat,1,5              lower,cat,-0.1,0.05        cat,1
dog,1,1              lower,dog,0.05,-0.1        dog,2
                     upper,cat,0.95,1.1
                     upper,dog,1.1,0.95
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from utils.errors import UserError, nearest, shorten
from utils.files import write_text

MatrixKind = Literal["cost", "threshold", "weights"]


def read_cost(path: str, classes: Sequence[str]) -> np.ndarray:
    """Return the costs, float64 (C, C): row the true class, column the class it is mistaken for.

    Raises:
        UserError: the file is missing, names other classes or another order, or holds no costs of at least 0.
    """
    said = f"--cost_matrix {path}"
    rows = _read(path, said, "cost")
    _check_names(rows[0][1:], classes, said, "its header")
    return _matrix(rows[1:], classes, said, least=0)


def read_thresholds(path: str, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper bounds, float64 (C, C) each: row the true class, column the class of the probability.

    Raises:
        UserError: the file is missing, names other classes or another order, or a lower bound is not below the upper one.
    """
    said = f"--threshold_matrix {path}"
    rows = _read(path, said, "threshold")
    _check_names(rows[0][2:], classes, said, "its header")
    bounds = [row[0].strip() for row in rows[1:]]
    expected = ["lower"] * len(classes) + ["upper"] * len(classes)
    if bounds != expected:
        raise UserError(f"{said}: expected {len(classes)} rows that begin with 'lower', then {len(classes)} with 'upper'")
    body = [row[1:] for row in rows[1:]]
    lower, upper = (_matrix(part, classes, said) for part in (body[: len(classes)], body[len(classes) :]))
    if wrong := np.argwhere(lower >= upper).tolist():
        row, column = (classes[index] for index in wrong[0])
        raise UserError(f"{said}: row {row}, column {column}: the lower bound must be below the upper bound")
    return lower, upper


def read_weights(path: str, classes: Sequence[str], *, flag: str = "--class_weights") -> np.ndarray:
    """Return one number a class, float64 (C,), at least 0.

    Raises:
        UserError: the file is missing, names other classes or another order, or holds no such numbers.
    """
    said = f"{flag} {path}"
    rows = _read(path, said, "weights")
    _check_names([row[0] for row in rows[1:]], classes, said, "its rows")
    weights = np.array([_number(row[1:], name, ["weight"], said, 0)[0] for row, name in zip(rows[1:], classes, strict=True)])
    if not weights.any():
        raise UserError(f"{said}: every weight is 0; nothing would be learned")
    return weights


def write_template(path: str, classes: Sequence[str], *, kind: MatrixKind) -> None:
    """Write a file to be filled in.

    Costs and weights are 1, which changes nothing; the thresholds leave out what is already sure.

    Raises:
        UserError: the file exists or cannot be written.
    """
    place = Path(path)
    if place.exists():
        raise UserError(f"--write_matrix {path}: the file exists; name a new one")
    if not place.parent.is_dir():
        raise UserError(f"--write_matrix {path}: there is no folder {place.parent}")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_template(classes, kind))
    write_text(place, text.getvalue())


def _template(classes: Sequence[str], kind: MatrixKind) -> list[list[object]]:
    def rows(same: float, other: float) -> list[list[object]]:
        return [[true, *(same if name == true else other for name in classes)] for true in classes]

    if kind == "weights":
        return [["class", "weight"], *([name, 1.0] for name in classes)]
    if kind == "cost":
        return [["class", *classes], *rows(1.0, 1.0)]
    lower = [["lower", *row] for row in rows(-0.1, 0.05)]
    upper = [["upper", *row] for row in rows(0.95, 1.1)]
    return [["bound", "class", *classes], *lower, *upper]


def _read(path: str, said: str, kind: MatrixKind) -> list[list[str]]:
    """Return the cells of the file that are not in empty rows, with the right first header cells."""
    help_line = f"python main.py --data DIR --write_matrix FILE --matrix_kind {kind} writes a template"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{said}: {(error.strerror or 'cannot be read').lower()}; {help_line}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{said}: not a text file in UTF-8; {help_line}") from error
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{said}: {error}; {help_line}") from error
    corner = {"cost": ["class"], "threshold": ["bound", "class"], "weights": ["class", "weight"]}[kind]
    if not rows or [cell.strip() for cell in rows[0][: len(corner)]] != corner:
        raise UserError(f"{said}: the header must begin with '{','.join(corner)}'; {help_line}")
    return rows


def _check_names(found: Sequence[str], classes: Sequence[str], said: str, where: str) -> None:
    found = [name.strip() for name in found]
    if tuple(found) == tuple(classes):
        return
    if unknown := [name for name in found if name not in classes]:
        raise UserError(f"{said}: {where} name '{unknown[0]}', which is not a class of the data.{nearest(unknown[0], list(classes))}")
    if len(found) != len(classes):
        missing = [name for name in classes if name not in found]
        which = f"; '{missing[0]}' is missing" if missing else ""
        raise UserError(f"{said}: {where} name {len(found)} classes, the data has {len(classes)}{which}")
    raise UserError(f"{said}: {where} name the classes in another order than the data: {shorten(classes)}")


def _matrix(rows: Sequence[Sequence[str]], classes: Sequence[str], said: str, *, least: float = -math.inf) -> np.ndarray:
    _check_names([row[0] for row in rows], classes, said, "its rows")
    return np.array([_number(row[1:], name, classes, said, least) for row, name in zip(rows, classes, strict=True)], dtype=np.float64)


def _number(cells: Sequence[str], row: str, columns: Sequence[str], said: str, least: float) -> list[float]:
    """Return the numbers of one row, or raise UserError that names the cell."""
    if len(cells) != len(columns):
        raise UserError(f"{said}: row {row} has {len(cells)} numbers, not {len(columns)}")
    numbers = []
    for cell, column in zip(cells, columns, strict=True):
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < least:
            wanted = "a number" if least == -math.inf else f"a number of at least {least:g}"
            raise UserError(f"{said}: row {row}, column {column}: '{cell.strip()}' is not {wanted}")
        numbers.append(number)
    return numbers
