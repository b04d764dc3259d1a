"""The confusion matrix of a page: a table whose cells show their images when clicked, without a script."""

import numpy as np

from applications.report.measured_labels import MeasuredLabels
from applications.report.report_part import Thumbnails, as_percent
from utils.page import escaped, gallery, paragraph

STYLE = """
.matrix td, .matrix th { padding: 0; border: 0; text-align: center; min-width: 2.3rem; font-size: .82rem; }
.matrix th { font-weight: 500; padding: .15rem .4rem; max-width: 9rem; overflow: hidden; text-overflow: ellipsis; }
.matrix tbody th { text-align: right; } .matrix td a { display: block; padding: .3rem .2rem; color: inherit; text-decoration: none; }
.matrix td a:hover { outline: 2px solid var(--accent); } .matrix td.dark { color: #fff; } .matrix td span { opacity: .25; }
.cellview { display: none; } .cellview:target { display: block; border-left: 3px solid var(--accent); padding-left: 1rem; }
"""
MOST_CLASSES = 30
WRONG_IN_A_CELL, RIGHT_IN_A_CELL = 12, 4
MOST_IN_ALL = 300


def confusion_blocks(material: MeasuredLabels, matrix: np.ndarray, pictures: Thumbnails) -> list[str]:
    """Return the matrix as a table of links, and the images of every cell.

    With many classes, those with the most errors are shown.

    Args:
        material: the measured model.
        matrix: counts (C, C), one row per true class.
        pictures: gives the thumbnails.
    """
    wrong = matrix.sum(1) + matrix.sum(0) - 2 * np.diag(matrix)
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
    blocks = [paragraph("A row is a true class, a column an answer. Click a number to see its images.", tone="soft")]
    if len(matrix) > MOST_CLASSES:
        blocks.append(
            paragraph(f"Shown are the {MOST_CLASSES} of {len(matrix)} classes with the most errors; confusion.csv has all.", tone="soft")
        )
    views = _views(material, matrix, shown, pictures)
    return [*blocks, _table(material.classes, matrix, shown, set(views)), *views.values()]


def _table(classes: tuple[str, ...], matrix: np.ndarray, shown: np.ndarray, linked: set[tuple[int, int]]) -> str:
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    head = "".join(f'<th title="{escaped(classes[column])}">{escaped(_short(classes[column]))}</th>' for column in shown)
    rows = []
    for row in shown.tolist():
        cells = "".join(_cell(row, column, int(matrix[row, column]), shares[row, column], linked) for column in shown.tolist())
        rows.append(f'<tr><th title="{escaped(classes[row])}">{escaped(_short(classes[row]))}</th>{cells}</tr>')
    return f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(row: int, column: int, count: int, share: float, linked: set[tuple[int, int]]) -> str:
    if not count:
        return "<td><span>·</span></td>"
    color = "37 99 168" if row == column else "179 38 30"
    # A minimum strength, so that rare mistakes are visible.
    strength = share if row == column else min(1.0, 0.15 + 2 * share)
    dark = ' class="dark"' if strength > 0.55 else ""
    inner = f'<a href="#c{row}-{column}">{count}</a>' if (row, column) in linked else str(count)
    return f'<td{dark} style="background: rgb({color} / {strength:.2f})">{inner}</td>'


def _views(material: MeasuredLabels, matrix: np.ndarray, shown: np.ndarray, pictures: Thumbnails) -> dict[tuple[int, int], str]:
    """Return (row, column) -> the hidden gallery of a cell; wrong answers come first while there is room."""
    probabilities = material.prediction.probabilities.numpy()
    found, targets = probabilities.argmax(1), material.prediction.targets.numpy()
    cells = [(row, column) for row in shown.tolist() for column in shown.tolist() if matrix[row, column]]
    cells.sort(key=lambda cell: (cell[0] == cell[1], -matrix[cell]))
    left, views = MOST_IN_ALL, {}
    for row, column in cells:
        most = min(left, RIGHT_IN_A_CELL if row == column else WRONG_IN_A_CELL)
        members = np.flatnonzero((targets == row) & (found == column))
        # The least confident right answers, the most confident wrong ones.
        order = np.argsort(probabilities[members, column] * (1 if row == column else -1), kind="stable")
        cards = []
        for member in members[order][:most].tolist():
            lines = (f"{as_percent(float(probabilities[member, column]))} {material.classes[column]}", material.file(member))
            card = pictures.card(int(material.prediction.indices[member]), lines, "good" if row == column else "bad")
            cards += [card] if card else []
        left -= len(cards)
        if cards:
            views[row, column] = _view(material.classes, row, column, len(members), gallery(cards), len(cards))
    return views


def _view(classes: tuple[str, ...], row: int, column: int, count: int, pictures: str, shown: int) -> str:
    what = f"{classes[row]}, answered rightly" if row == column else f"{classes[row]}, answered as {classes[column]}"
    kind = "the least confident" if row == column else "the most confident"
    part = f"{count} images" if shown == count else f"{kind} {shown} of {count} images"
    return f'<div class="cellview" id="c{row}-{column}"><h3>{escaped(what)}: {part}</h3>{pictures}</div>'


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
