"""What a sweep leaves: table, sweep.csv, sweep.png, and the command that repeats the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

from applications.sweep.halving import Rung, best_of
from applications.sweep.space import Parameter, flags_of, shown
from applications.sweep.study import Figure
from utils.drawing.scatter_panels import ScatterPanel, draw_scatters
from utils.files import write_csv
from utils.terminal_tables import print_table

# Rows of the table on the console; sweep.csv has all.
SHOWN_ROWS = 20


@dataclass(frozen=True)
class SweepResults:
    """All that was found.

    Attributes:
        space: what was varied.
        rungs: lengths of the runs.
        settings: number of a trial -> what it tried.
        figures: a rung each: number of a trial -> its figure.
        repeats: seed -> figure of the best settings, trained again.
    """

    space: Sequence[Parameter]
    rungs: Sequence[Rung]
    settings: Mapping[int, Mapping[str, Any]]
    figures: Sequence[Mapping[int, Figure]]
    repeats: Mapping[int, Figure]

    @property
    def order(self) -> list[int]:
        """The trials that were run: those of the last rung first, the best of a rung first, failed ones last."""
        ranked = [number for figures in reversed(self.figures) for number in best_of(figures, len(figures))]
        return list(dict.fromkeys([*ranked, *sorted(self.figures[0])]))

    def header(self) -> list[str]:
        """Return the names of the columns."""
        return ["trial", *(each.name for each in self.space), *(f"val at {rung.length:g} {rung.unit}" for rung in self.rungs)]

    def rows(self, *, exact: bool) -> list[list[str]]:
        """Return a row for each trial; `exact` for a file, else for a reader."""

        def figure(found: Mapping[int, Figure], number: int) -> str:
            if number not in found:
                return ""
            value = found[number]
            return "failed" if value is None else repr(value[0]) if exact else f"{value[0]:.2%}"

        def setting(value: Any) -> str:
            return repr(value) if exact and isinstance(value, float) else shown(value)

        return [
            [
                str(number),
                *(setting(self.settings[number][each.name]) for each in self.space),
                *(figure(found, number) for found in self.figures),
            ]
            for number in self.order
        ]


def print_results(results: SweepResults) -> None:
    """Print the best trials."""
    print_table(results.header(), results.rows(exact=False)[:SHOWN_ROWS])


def write_results(results: SweepResults, folder: Path) -> None:
    """Write sweep.csv, with the runs of other seeds below the trials, and sweep.png."""
    best = results.order[0]
    width = len(results.rungs)
    cells = results.rows(exact=True)
    repeated = [
        [
            f"{best} with seed {seed}",
            *cells[0][1 : 1 + len(results.space)],
            *[""] * (width - 1),
            "failed" if value is None else repr(value[0]),
        ]
        for seed, value in results.repeats.items()
    ]
    write_csv(folder / "sweep.csv", [results.header(), *cells, *repeated])
    # Figures of different lengths are not comparable, and all trials have that of the first rung.
    first = {number: value[0] for number, value in sorted(results.figures[0].items()) if value is not None}
    if not first:
        return
    marked = [*first].index(best) if best in first else None
    panels = [ScatterPanel("trial", [*first])]
    panels += [
        ScatterPanel(each.name, _places(each, [results.settings[number][each.name] for number in first]), log_x=each.is_logarithmic)
        for each in results.space
    ]
    rung = results.rungs[0]
    title = f"validation after {rung.length:g} {rung.unit}; ringed: the best of the whole sweep"
    draw_scatters(panels, [*first.values()], folder / "sweep.png", ylabel="val", title=title, marked=marked)


def _places(parameter: Parameter, values: Sequence[Any]) -> list[Any]:
    return [shown(value) for value in values] if parameter.choices else list(values)


def told_of_seeds(results: SweepResults, headline: str) -> list[str]:
    """Return what is said of the best: its own figure, which is too good, and those of the runs with other seeds."""
    best = results.order[0]
    found = results.figures[-1][best]
    assert found is not None, "the best has a figure"
    tried = len(results.figures[0])
    lines = [
        f"best      trial {best}: val {headline} {found[0]:.2%}. It was chosen among {tried} by this figure, so it is too good "
        "(winner's curse)"
    ]
    values = [value[0] for value in results.repeats.values() if value is not None]
    if values:
        mean, seeds = sum(values) / len(values), " and ".join(str(seed) for seed, value in results.repeats.items() if value is not None)
        lines.append(
            f"again     with seed {seeds} on the same split: mean {mean:.2%}, from {min(values):.2%} to {max(values):.2%}; expect this. "
            "The validation images chose the settings; only the test images, which the sweep has not looked at, are free of that"
        )
    return lines


def command_of(settings: Mapping[str, Any]) -> str:
    """Return the command that trains with these settings."""
    return join(["python", "main.py", *flags_of(settings)])
