"""Successive halving: many short runs, of which the best third is trained three times as long, and so on.

Jamieson and Talwalkar (arXiv 1502.07816). Every rung trains anew with a whole schedule of its own length: a run that was annealed at
the end of a rung would start the next one from a rate of zero, one that was cut off before could not be compared with annealed ones, and
neither would be what the command of the best repeats.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

FACTOR = 3
# A run of --minutes spends a part of this on its start.
LEAST_MINUTES = 0.5


@dataclass(frozen=True)
class Rung:
    """Runs of one length.

    Attributes:
        runs: how many.
        length: epochs or minutes of each.
        unit: 'epochs' or 'minutes'.
    """

    runs: int
    length: float
    unit: str

    @property
    def settings(self) -> dict[str, float]:
        """The setting that gives a run this length."""
        return {self.unit: int(self.length) if self.unit == "epochs" else self.length}


def plan_rungs(trials: int, length: float, unit: str) -> list[Rung]:
    """Return the rungs, the last of whole length: as many as the number of trials and the shortest run allow."""
    least = 1.0 if unit == "epochs" else LEAST_MINUTES
    count = 0
    while FACTOR ** (count + 1) <= trials and length / FACTOR ** (count + 1) >= least:
        count += 1
    lengths = [length / FACTOR ** (count - rung) for rung in range(count + 1)]
    return [
        Rung(math.ceil(trials / FACTOR**rung), round(length) if unit == "epochs" else length, unit) for rung, length in enumerate(lengths)
    ]


def best_of(values: Mapping[int, tuple[float, float] | None], count: int) -> list[int]:
    """Return the numbers of the best trials, the best first; of equal ones the earlier. Those without a value have failed.

    Args:
        values: number of the trial -> (figure, minus the loss), larger is better.
        count: how many at most.
    """
    able = [(value, -number) for number, value in values.items() if value is not None and not math.isnan(value[0])]
    return [-number for _, number in sorted(able, reverse=True)[:count]]
