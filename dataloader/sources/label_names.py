"""Tables of class names next to a list whose labels are numbers: labels.txt of name:id, or categories.csv of id,label."""

import csv
from pathlib import Path
from typing import NamedTuple

from dataloader.sources.list_formats import read_text, refuse

NAME_FILES = ("categories.csv", "labels.txt")


class LabelNames(NamedTuple):
    """Names of numbered classes.

    Attributes:
        file: where they are written.
        names: number -> name.
    """

    file: Path
    names: dict[int, str]


def find_label_names(folder: Path) -> LabelNames | None:
    """Return the table of names in `folder`, if there is one.

    Raises:
        UserError: a line of it cannot be used, or a number or a name occurs twice.
    """
    file = next((folder / name for name in NAME_FILES if (folder / name).is_file()), None)
    if file is None:
        return None
    names: dict[int, str] = {}
    for line, text in enumerate(read_text(file).splitlines(), start=1):
        if not text.strip() or (line == 1 and text.strip().lower() == "id,label"):
            continue
        number, name = _read_line(file, line, text)
        if number in names or name in names.values():
            refuse(file, line, f"'{number if number in names else name}' occurs twice; every class has one number and one name")
        names[number] = name
    return LabelNames(file, names)


def _read_line(file: Path, line: int, text: str) -> tuple[int, str]:
    if file.suffix == ".csv":
        number, *others = next(csv.reader([text]))
        name, form = others[0] if len(others) == 1 else "", "id,label"
    else:
        name, _, number = text.rpartition(":")
        form = "name:id"
    number, name = number.strip(), name.strip()
    if not number.isdecimal() or not name:
        refuse(file, line, f"'{text.strip()[:60]}' is not {form}")
    return int(number), name
