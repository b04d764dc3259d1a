"""Charts, one in a PNG, drawn without a screen. Several in one: utils/drawing/chart_panels.py."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.drawing.fonts import figure_fonts
from utils.drawing.lettering import labels_of
from utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Shapes of points, so that those that lie upon one another can be told apart.
MARKERS = "os^Dv"


def draw_bars(values: Sequence[float], names: Sequence[str], path: Path, *, axis: str, title: str) -> None:
    """Draw shares as a PNG of horizontal bars, the largest on top, each with its value.

    Args:
        values: one share of one a bar; nan leaves its bar out.
        names: what each bar stands for.
        path: PNG file to write.
        axis: what the values are.
        title: line above the bars.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = np.asarray(values, dtype=np.float64)
    order: list[int] = np.argsort(-shares, kind="stable").tolist()
    named = len(order) <= 200
    labels = labels_of(names if named else [], longest=40)
    with figure_fonts([*labels.shown, axis, title]):
        figure = Figure(figsize=(8, min(60.0, 1.4 + 0.26 * len(order))), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        bars = axes.barh(range(len(order)), np.nan_to_num(shares[order]), color="tab:blue")
        axes.set(xlim=(0, 1.08), ylim=(len(order) - 0.4, -0.6), xlabel=axis, title=title)
        if named:
            axes.set_yticks(range(len(order)), [labels.shown[index] for index in order])
            axes.bar_label(bars, ["no images" if np.isnan(value) else f"{value:.3f}" for value in shares[order]], padding=3, fontsize=8)
        _write(figure, path, labels.explain(path))


def draw_confusion(matrix: np.ndarray, names: Sequence[str], path: Path, *, of: str = "images", counts: bool = True) -> None:
    """Draw a confusion matrix as a PNG: color is the share of the true class, text the count.

    Args:
        matrix: (C, C) counts, a row a true class.
        names: class names.
        path: PNG file to write.
        of: what was counted.
        counts: whether cells show counts, else shares of the true class.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(names)
    side = min(30.0, max(5.0, 2.2 + 0.5 * count))
    labels = labels_of(names if count <= 100 else [], longest=24)
    with figure_fonts(labels.shown):
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(picture, ax=axes, label="share of the true class", fraction=0.046, pad=0.03)
        accuracy = np.trace(matrix) / max(1, matrix.sum())
        axes.set(xlabel="predicted", ylabel="true", title=f"{accuracy:.2%} of {matrix.sum():,} {of} right")
        if labels.shown:
            turned = max(map(len, labels.shown)) > 2
            axes.set_xticks(range(count), labels.shown, rotation=45 if turned else 0, ha="right" if turned else "center")
            axes.set_yticks(range(count), labels.shown)
        if count <= 30:
            for row, column in zip(*np.nonzero(matrix), strict=True):
                color = "white" if shares[row, column] > 0.5 else "black"
                text = str(matrix[row, column]) if counts else f"{shares[row, column]:.0%}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
        _write(figure, path, labels.explain(path))


def draw_points(
    points: Sequence[tuple[float, float, str]],
    path: Path,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    line: Sequence[tuple[float, float]] = (),
    least_height: float = 0.0,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    """Draw named points as a PNG; the names stand beside, from left to right and from top to bottom.

    Args:
        points: (x, y, name) each.
        path: PNG file to write.
        title, xlabel, ylabel: what to write beside it.
        log_x: whether the axis is logarithmic.
        line: (x, y) of the points that a line joins.
        least_height: what the picture shows of y at least, so that points which hardly differ do not seem far apart.
        limits: least and greatest y that there is, beyond which no place is shown.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with figure_fonts([title, *(name for _, _, name in points)]):
        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if line:
            axes.plot([x for x, _ in line], [y for _, y in line], color="tab:gray", alpha=0.5)
        for index, (x, y, name) in enumerate(sorted(points, key=lambda point: (point[0], -point[1]))):
            shown = name if len(name) <= 30 else "…" + name[-29:]
            marker = MARKERS[index % len(MARKERS)]
            axes.scatter([x], [y], s=50, color=f"C{index % 10}", marker=marker, alpha=0.6, zorder=3, label=shown, clip_on=False)
        low, high = min((y for _, y, _ in points), default=0.0), max((y for _, y, _ in points), default=0.0)
        missing = max(0.0, least_height - (high - low)) / 2
        if points:
            axes.update_datalim([(points[0][0], low - missing), (points[0][0], high + missing)])
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.01), fontsize=8, frameon=False)
        if log_x:
            axes.set_xscale("log")
        axes.margins(0.12)
        axes.autoscale_view()
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, limits[0]), min(top, limits[1]))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(alpha=0.3)
        if log_x:
            _label_decades(axes.xaxis)
        _write(figure, path, "")


def draw_curve(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    path: Path,
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    log_x: bool = False,
    log_y: bool = False,
    limits: tuple[float, float] | None = None,
    mark: float | None = None,
) -> None:
    """Draw curves over one axis as a PNG.

    Args:
        x: (N,) places.
        curves: label -> (N,) values; the last is drawn strongest, an empty label is left out of the legend.
        path: PNG file to write.
        title, xlabel, ylabel: what to write beside it.
        log_x, log_y: whether the axes are logarithmic.
        limits: of the values that are shown; the rest of the curves lies outside.
        mark: a place on the axis to point at.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with figure_fonts([*curves, title, xlabel, ylabel]):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for number, (label, values) in enumerate(curves.items(), start=1):
            strength = 1.0 if number == len(curves) else 0.35
            axes.plot(x, values, color="tab:blue", alpha=strength, label=label or None)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        if limits is not None:
            axes.set_ylim(*limits)
        if mark is not None:
            axes.axvline(mark, color="tab:red", linestyle="--", label=f"{mark:.2g}")
        if any(curves) or mark is not None:
            axes.legend()
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.grid(alpha=0.3)
        for axis in ([axes.xaxis] if log_x else []) + ([axes.yaxis] if log_y else []):
            _label_decades(axis)
        _write(figure, path, "")


def _label_decades(axis: "Axis") -> None:
    """Write plain numbers on a logarithmic axis whose limits are set.

    Matplotlib's own labels there are formulas, which `figure_fonts` turns off.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _write(figure: "Figure", path: Path, note: str) -> None:
    """Write the figure as a PNG, with a note below it."""
    if note:
        figure.supxlabel(note, fontsize=8)
    # The layout knows nothing of the labels of axes that keep their aspect, and would cut them off.
    write_atomically(path, lambda place: figure.savefig(place, dpi=110, format="png", bbox_inches="tight", pad_inches=0.08))
