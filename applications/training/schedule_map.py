"""Where a run stands on its plan: the schedule of a run whose length changes on the way still comes to its end."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# A last epoch shorter than this share of a whole one is left out.
SHORTEST_PART = 0.15
# A run gets no longer than so many times its plan, however fast its steps have become.
MOST_TIMES = 100


@dataclass(frozen=True)
class Change:
    """From a step on, the rest of the plan is walked in another number of steps.

    Attributes:
        step: optimizer steps made.
        position: on the plan, in its steps.
        end: steps after which the run ends now.
    """

    step: int
    position: float
    end: int


@dataclass(frozen=True)
class ScheduleMap:
    """Steps made -> position on the plan. Without changes, both are the same.

    Attributes:
        planned: steps of the plan.
        per_epoch: steps of a whole epoch.
        changes: in the order in which they were made; the log that a resumed run repeats.
    """

    planned: int
    per_epoch: int
    changes: tuple[Change, ...] = ()

    @property
    def end(self) -> int:
        """Steps after which the run ends."""
        return self.changes[-1].end if self.changes else self.planned

    @property
    def epochs(self) -> int:
        """Epochs of the run, of which the last may be a part."""
        return math.ceil(self.end / self.per_epoch)

    def position(self, step: int) -> float:
        """Return the position on the plan after so many steps; the last step of the run has that of the plan's last step."""
        change = next((each for each in reversed(self.changes) if each.step <= step), None)
        if change is None:
            return step
        last, steps = self.planned - 1, change.end - 1 - change.step
        if step >= change.end - 1 or steps < 1:
            return float(last)
        return change.position + (last - change.position) * (step - change.step) / steps

    def planned_epoch(self, epoch: int) -> int:
        """Return the epoch of the plan in which an epoch begins; of the last one, as far as is known when it begins, the plan's last.

        A short run has the last images of its plan, too: large ones, or such that are not put together.
        """
        begun = epoch * self.per_epoch
        end = next((each.end for each in reversed(self.changes) if each.step <= begun), self.planned)
        return (self.planned - 1) // self.per_epoch if epoch and begun < end <= begun + self.per_epoch else self._begins_in(epoch)

    def _begins_in(self, epoch: int) -> int:
        return int(self.position(epoch * self.per_epoch) // self.per_epoch)

    def ending(self, step: int, end: int) -> "ScheduleMap":
        """Return the map with another end, decided after `step` steps."""
        change = Change(step, min(self.position(step), float(self.planned - 1)), end)
        return replace(self, changes=(*(each for each in self.changes if each.step < step), change))

    def seconds_after(self, step: int, step_seconds: Callable[[int], float], end_seconds: float) -> float:
        """Return how long the run goes on after `step` steps.

        Args:
            step: steps made.
            step_seconds: epoch of the plan -> seconds of a step.
            end_seconds: of the end of an epoch.
        """
        total = 0.0
        for epoch in range(step // self.per_epoch, self.epochs):
            first, last = epoch * self.per_epoch, (epoch + 1) * self.per_epoch
            total += (min(last, self.end) - max(first, step)) * step_seconds(self._begins_in(epoch)) + end_seconds
        return total

    def fitted(self, step: int, seconds: float, step_seconds: Callable[[int], float], end_seconds: float) -> "ScheduleMap":
        """Return the map that ends as late as `seconds` allow, but one step after `step` at the earliest."""
        fastest = min(step_seconds(epoch) for epoch in range(math.ceil(self.planned / self.per_epoch)))
        most = seconds / fastest if fastest > 0 else math.inf
        low, high = step + 1, step + 2 + int(min(max(0.0, most), MOST_TIMES * self.planned))
        while high - low > 1:
            middle = (low + high) // 2
            if self.ending(step, middle).seconds_after(step, step_seconds, end_seconds) <= seconds:
                low = middle
            else:
                high = middle
        whole = low // self.per_epoch * self.per_epoch
        return self.ending(step, whole if step < whole and low - whole < SHORTEST_PART * self.per_epoch else low)
