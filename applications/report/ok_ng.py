"""--report_ok_ng: the tables of a factory, ok.xlsx and ng.xlsx with a picture and its heat map a row, and summary.xlsx."""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from applications.report.measured_defects import MeasuredDefects
from dataloader.targets.defect import GOOD, Defect
from utils.drawing.defect_pictures import outlined, shown_heat
from utils.drawing.images import enlarged, overlay, thumbnail
from utils.errors import UserError
from utils.logs import log

PACKAGE = "openpyxl"
SIDE = 128
# Points of a row, and characters of a column, that hold a picture.
ROW_HEIGHT, COLUMN_WIDTH = 100, 19
# Rows of a table; each has two pictures of about 5 kB.
MOST_ROWS = 1000
HEADER = ("image", "batch", "truth", "score", "picture", "heat map")


def check_installed() -> None:
    """Raise UserError when the package that writes the tables is missing."""
    try:
        import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise UserError(f"--report_ok_ng writes .xlsx files by {PACKAGE}, which is not installed: pip install {PACKAGE}") from error


def write_ok_ng(material: MeasuredDefects) -> list[Path]:
    """Write the tables of images answered as good (OK) and as defective (NG), the strangest first, and the counts; return the files.

    Raises:
        UserError: openpyxl is not installed, or there is no threshold to tell them apart.
    """
    check_installed()
    threshold = material.meter.threshold
    if threshold is None:
        raise UserError("--report_ok_ng needs a threshold, which this model has not; choose one with --target 'false_alarm<=0.05'")
    images = material.meter.images
    named = images.scores >= threshold
    order = np.argsort(-images.scores, kind="stable")
    files = []
    for name, rows in (("ok", order[~named[order]]), ("ng", order[named[order]])):
        files.append(material.folder / f"{name}.xlsx")
        _write_table(material, rows.tolist(), files[-1])
    files.append(material.folder / "summary.xlsx")
    _write_summary(material, named, files[-1])
    return files


def batch_of(material: MeasuredDefects, index: int) -> str:
    """Return the batch that an image belongs to: its group where --group_by names any, else its folder."""
    groups = material.split.groups
    return (groups[index] if groups else "") or str(PurePosixPath(material.split.paths[index]).parent)


def _write_table(material: MeasuredDefects, rows: Sequence[int], path: Path) -> None:
    openpyxl: Any = import_module(PACKAGE)
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = path.stem.upper()
    sheet.append(HEADER)
    if len(rows) > MOST_ROWS:
        log().warning(f"{path.name} shows the {MOST_ROWS:,} strangest of {len(rows):,} images; predictions.csv has all")
    images = material.meter.images
    for line, row in enumerate(rows[:MOST_ROWS], start=2):
        index = int(images.indices[row])
        image, target = material.split.read(index), material.split.target(index)
        assert isinstance(target, Defect)
        (answer,) = material.heat.answers([image])
        batch = batch_of(material, index)
        sheet.append([_text(material.split.paths[index]), _text(batch), _text(images.kinds[row]), round(float(images.scores[row]), 6)])
        sheet.row_dimensions[line].height = ROW_HEIGHT
        shown = (outlined(image, target.mask.ids == 1), overlay(image, shown_heat(answer.heat)))
        for letter, picture in zip("EF", shown, strict=True):
            sheet.add_image(_picture(openpyxl, picture), f"{letter}{line}")
    _dress(openpyxl, sheet, (40, 20, 12, 10, COLUMN_WIDTH, COLUMN_WIDTH))
    book.save(path)


def _dress(openpyxl: Any, sheet: Any, widths: Sequence[int], *, percents: str = "") -> None:
    """Give columns their widths, in characters, the header bold letters that stay in sight, and the shares of a column percents."""
    styles = import_module(f"{openpyxl.__name__}.styles")
    sheet.freeze_panes = "A2"
    for number, width in enumerate(widths, start=1):
        head = sheet.cell(1, number)
        head.font = styles.Font(bold=True)
        sheet.column_dimensions[head.column_letter].width = width
    for row in sheet.iter_rows(min_row=2):
        for cell in row:
            # Beside a picture, text stands in the middle of its row.
            cell.alignment = styles.Alignment(vertical="center")
            if cell.column_letter == percents:
                cell.number_format = "0.0%"


def _picture(openpyxl: Any, image: np.ndarray) -> Any:
    file = BytesIO()
    Image.fromarray(enlarged(thumbnail(image, SIDE), SIDE)).save(file, "JPEG", quality=85)
    file.seek(0)
    return import_module(f"{openpyxl.__name__}.drawing.image").Image(file)


def _text(value: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value


def _write_summary(material: MeasuredDefects, named: np.ndarray, path: Path) -> None:
    """Write the confusion of truth and answer, the figures, and the counts of every batch."""
    openpyxl: Any = import_module(PACKAGE)
    images, book = material.meter.images, openpyxl.Workbook()
    confusion = book.active
    confusion.title = "confusion"
    confusion.append(["truth", "answered OK", "answered NG"])
    for kind in [GOOD, *material.meter.kinds]:
        mine = np.array([each == kind for each in images.kinds], dtype=bool)
        confusion.append([_text(kind), int((mine & ~named).sum()), int((mine & named).sum())])
    figures = book.create_sheet("figures")
    figures.append(["figure", "value"])
    for name, value in material.meter.figures().items():
        figures.append([name.replace("_", " "), value])
    _dress(openpyxl, figures, (20, 12), percents="B")
    figures.append(["threshold", material.meter.threshold])
    batches = book.create_sheet("batches")
    batches.append(["batch", "images", "OK", "NG", "share of NG"])
    places = [batch_of(material, index) for index in images.indices.tolist()]
    total, bad = Counter(places), Counter(place for place, each in zip(places, named.tolist(), strict=True) if each)
    for place in sorted(total):
        batches.append([_text(place), total[place], total[place] - bad[place], bad[place], bad[place] / total[place]])
    _dress(openpyxl, confusion, (20, 14, 14))
    _dress(openpyxl, batches, (40, 10, 10, 10, 14), percents="E")
    book.save(path)
