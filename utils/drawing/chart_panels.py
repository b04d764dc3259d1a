"""Curves and bars side by side in one PNG, drawn without a screen. One chart alone: utils/drawing/plots.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from utils.drawing.fonts import figure_fonts
from utils.drawing.lettering import labels_of
from utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Attributes:
        title, xlabel, ylabel: what to write beside it.
        curves: label -> places and values.
        bars: left edges, heights, strengths of color in [0, 1] and the width of bars; None draws none.
        shares: whether both axes are shares from 0 to 1, with their diagonal.
        percent: whether the values are written as percentages.
        whole: whether places are whole numbers, such as epochs.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    bars: tuple[Sequence[float], Sequence[float], Sequence[float], float] | None = None
    shares: bool = False
    percent: bool = False
    whole: bool = False


def draw_panels(panels: Sequence[Panel], path: Path) -> None:
    """Draw diagrams side by side as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = labels_of([label for panel in panels for label in panel.curves], longest=30)
    shown = iter(labels.shown)
    with figure_fonts([*labels.shown, *(text for panel in panels for text in (panel.title, panel.xlabel, panel.ylabel))]):
        figure = Figure(figsize=(4.6 * len(panels) + 0.4, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(panel, axes, [next(shown) for _ in panel.curves])
        if note := labels.explain(path):
            figure.supxlabel(note, fontsize=8)
        write_atomically(path, lambda place: figure.savefig(place, dpi=110, format="png"))


def _draw(panel: Panel, axes: "Axes", labels: Sequence[str]) -> None:
    """Draw one diagram, its curves under these labels."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    if panel.shares:
        axes.plot([0, 1], [0, 1], color="gray", linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    if panel.bars is not None:
        left, heights, strengths, width = panel.bars
        colors = [("tab:blue", strength) for strength in strengths]
        axes.bar(left, heights, width=width, align="edge", color=colors, edgecolor=("tab:blue", 0.6), linewidth=0.6)
    for label, (x, y), color in zip(labels, panel.curves.values(), COLORS * len(panel.curves), strict=False):
        # A label that begins with an underscore would be left out of the legend.
        axes.plot(x, y, color=color, label=f" {label}" if label else None, marker="o" if len(x) < 3 else "", markersize=4)
    if any(labels):
        axes.legend(fontsize=8)
    if panel.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if panel.whole:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel(panel.xlabel, fontsize=9)
    axes.set_ylabel(panel.ylabel, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
