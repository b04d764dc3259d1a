"""Points of one figure over several quantities, side by side in one PNG, drawn without a screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.drawing.fonts import figure_fonts
from utils.files import write_atomically

# Diagrams beside one another.
COLUMNS = 4


@dataclass(frozen=True)
class ScatterPanel:
    """One diagram.

    Attributes:
        label: what the places are.
        places: (N,) numbers, or names, which stand beside one another.
        log_x: whether the places are logarithmic.
    """

    label: str
    places: Sequence[Any]
    log_x: bool = False


def draw_scatters(
    panels: Sequence[ScatterPanel], values: Sequence[float], path: Path, *, ylabel: str, title: str, marked: int | None = None
) -> None:
    """Draw the same values over the places of each panel as a PNG.

    Args:
        panels: diagrams.
        values: (N,) shares.
        path: PNG file to write.
        ylabel, title: what to write beside it.
        marked: a point to ring.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    names = [place for panel in panels for place in panel.places if isinstance(place, str)]
    with figure_fonts([title, ylabel, *names, *(panel.label for panel in panels)]):
        figure = Figure(figsize=(3.6 * columns + 0.4, 3.2 * rows + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            axes.scatter(panel.places, values, color="tab:blue", s=18)
            if marked is not None:
                axes.scatter([panel.places[marked]], [values[marked]], s=90, facecolors="none", edgecolors="tab:red")
            if panel.log_x:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
            elif all(isinstance(place, int) for place in panel.places):
                axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlabel(panel.label)
            axes.margins(0.1)
            axes.grid(alpha=0.3)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[::columns]:
            axes.set_ylabel(ylabel)
        figure.suptitle(title, fontsize=10)
        write_atomically(path, lambda place: figure.savefig(place, dpi=110, format="png"))
