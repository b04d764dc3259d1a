"""The length of a run with --minutes: its plan, shortened or lengthened when this machine turns out slower or faster than it was."""

from collections.abc import Callable, Mapping
from typing import Any

from applications.engine.run_length import RunLength
from applications.progress import Progress
from applications.training.schedule_map import Change, ScheduleMap
from applications.training.time_plan import Speed, usable_seconds
from dataloader.loading.size_schedule import SizeSchedule
from utils.distributed import World
from utils.logs import log

# Of the budget: how late and how early the end may be expected. What is late in the middle of an epoch may have a better time after it.
LATE, LATE_MIDDLE, EARLY = 0.005, 0.05, 0.03
# Of an epoch: how often a look is taken. Of the budget: the time over which the pace is measured, and the least.
LOOKS, WINDOW, LEAST = 20, 0.1, 0.01
# A change of the end by less than this share of the run is not worth a line.
WORTH_SAYING = 0.02


def epochs_of(state: Mapping[str, Any]) -> int:
    """Return the epochs of the run whose length has this state."""
    changes = tuple(Change(*change) for change in state["changes"])
    return ScheduleMap(state["steps"], state["per_epoch"], changes).epochs


class TimedLength(RunLength):
    """Ends a run after a time, with its schedule at its end.

    Every decision is a change of the `ScheduleMap`. They are saved, and so is what the next one depends on, so that a resumed run
    repeats them. The clock stands still between the save and the resumed run's first step.

    Args:
        minutes: of the whole run, from the start of the program.
        schedule_map: the plan, and its changes so far.
        sizes: of training images in the epochs of the plan.
        speed: of training, as it was measured.
        images: of an optimizer step, the mean over an epoch.
        accumulate: batches of an optimizer step.
        end_seconds: of the end of an epoch, as long as none was seen.
        epoch_size: images of an epoch with those in reserve; None where the settings say how many there are. It is kept for a resumed run.
        clock: seconds since the program started.
        world: the processes; the first one's clock counts.
        state: what `state_dict` returned, for a resumed run.
    """

    def __init__(
        self,
        minutes: float,
        schedule_map: ScheduleMap,
        sizes: SizeSchedule,
        speed: Speed,
        *,
        images: float,
        accumulate: int,
        end_seconds: float,
        epoch_size: int | None = None,
        clock: Callable[[], float],
        world: World,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(schedule_map.epochs)
        self.minutes = minutes
        self.map = schedule_map
        self.sizes = sizes
        self.speed = speed
        self.images = images
        self.accumulate = accumulate
        self.end_seconds = end_seconds
        self.epoch_size = epoch_size
        self.world = world
        self._clock = clock
        # Of a resumed run: what the clock said when it was saved, as long as no step was made since.
        self._offset, self._held = 0.0, None if state is None else float(state["clock"])
        # When the last step was seen; the work done, in seconds at the measured speed; and the seconds that it took.
        self._mark, self._work, self._took = clock(), 0.0, 0.0
        # (work, seconds) at the looks of the last tenth of the budget.
        self._window: list[tuple[float, float]] = []
        self._counted = 0
        if state is not None:
            self.map = ScheduleMap(state["steps"], schedule_map.per_epoch, tuple(Change(*change) for change in state["changes"]))
            self._mark, self._work, self._took, self._counted = state["mark"], state["work"], state["took"], state["counted"]
            self._window = [(work, took) for work, took in state["window"]]
            self.end_seconds = state["end_seconds"]

    @property
    def epochs(self) -> int:
        return self.map.epochs

    def schedule_position(self, step: int) -> float:
        """Return the position on the plan after so many optimizer steps, by which the schedule goes."""
        return self.map.position(step)

    def batches(self, epoch: int, whole: int) -> int:
        steps = min(self.map.end - epoch * self.map.per_epoch, self.map.per_epoch)
        return max(0, min(whole, steps * self.accumulate))

    def fewest(self, batch: int, held: int, whole: int) -> int:
        # The run may end after any step.
        return max(held, min(whole, batch))

    def planned_epoch(self, epoch: int) -> int:
        return self.map.planned_epoch(epoch)

    def done(self, progress: Progress) -> float:
        # Epochs of the plan begin where its position says: a run with a reserve, or of another length by now, has others.
        position = self.map.position(progress.epoch * self.map.per_epoch + progress.batch // self.accumulate)
        return int(position // self.map.per_epoch) / (self.map.planned // self.map.per_epoch)

    def begin_epoch(self, progress: Progress) -> None:
        if self._held is not None:
            self._offset, self._held = self._held - self._clock(), None
        now = self._now()
        if not progress.batch:
            if progress.epoch:
                self.end_seconds = now - self._mark
            self._decide(progress, now, late=LATE)
        self._mark = now

    def look(self, progress: Progress) -> None:
        if progress.batch // self.accumulate % max(1, self.map.per_epoch // LOOKS):
            return
        now = self._now()
        steps = self._steps(progress)
        self._work += (steps - self._counted) * self._planned_seconds(self.planned_epoch(progress.epoch))
        self._took += now - self._mark
        self._counted, self._mark = steps, now
        # Before the first look, processes start and kernels are chosen, which says nothing of the pace.
        self._window.append((self._work, self._took))
        while len(self._window) > 2 and self._took - self._window[1][1] >= WINDOW * 60 * self.minutes:
            del self._window[0]
        last = progress.epoch + 1 >= self.epochs
        if steps < self.map.end:
            self._decide(progress, now, late=LATE if last else LATE_MIDDLE, early=last)

    def spent(self) -> float:
        """Return the seconds of the budget that are gone."""
        return self._clock() + self._offset if self._held is None else self._held

    def pace(self) -> float:
        """Return how many times as long as measured the last steps took; 1 before the second look."""
        if not self._window:
            return 1.0
        work, took = (now - before for now, before in zip((self._work, self._took), self._window[0], strict=True))
        return took / work if work and took >= LEAST * 60 * self.minutes else 1.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "minutes": self.minutes,
            "steps": self.map.planned,
            "per_epoch": self.map.per_epoch,
            "changes": [[change.step, change.position, change.end] for change in self.map.changes],
            "speed": [self.speed.image, self.speed.pixel],
            "end_seconds": self.end_seconds,
            "epoch_size": self.epoch_size,
            "clock": self.spent(),
            "mark": self._mark,
            "work": self._work,
            "took": self._took,
            "counted": self._counted,
            "window": [list(pair) for pair in self._window],
        }

    def _decide(self, progress: Progress, now: float, *, late: float, early: bool = True) -> None:
        """Move the end where it is expected too late or too early."""
        steps, pace = self._steps(progress), self.pace()
        left = usable_seconds(self.minutes) - now
        # What slows the steps down slows the first validation, of which nothing else is known.
        end_seconds = self.end_seconds * (1.0 if progress.epoch else max(1.0, pace))

        def step_seconds(epoch: int) -> float:
            return pace * self._planned_seconds(epoch)

        expected = self.map.seconds_after(steps, step_seconds, end_seconds)
        tolerated = 60 * self.minutes
        if -EARLY * tolerated <= expected - left <= late * tolerated or (expected < left and not early):
            return
        before, fitted = self.map, self.map.fitted(steps, left, step_seconds, end_seconds)
        if fitted.end == before.end:
            return
        self.map = fitted
        if abs(self.map.end - before.end) > WORTH_SAYING * before.end:
            ends = f"{self.map.end:,} steps, not {before.end:,}"
            why = f"a step takes {pace:.2g} times as long as planned" if abs(pace - 1) > EARLY else f"{left:.0f} s are left"
            log().info(f"plan      the run ends after {ends}: {why}")

    def _planned_seconds(self, epoch: int) -> float:
        """Return the seconds of a step in an epoch of the plan, at the measured speed."""
        return self.images * self.speed.seconds(self.sizes.at(epoch))

    def _steps(self, progress: Progress) -> int:
        return progress.epoch * self.map.per_epoch + -(-progress.batch // self.accumulate)

    def _now(self) -> float:
        return self.world.gather(self.spent())[0]
