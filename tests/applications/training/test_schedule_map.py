"""A run whose end moves: the schedule comes to its end all the same, and the end is met."""

from functools import partial
from itertools import pairwise

import pytest

from applications.progress import Progress
from applications.training.schedule_map import Change, ScheduleMap
from applications.training.time_plan import LEAVING, Speed, usable_seconds
from applications.training.timed_length import TimedLength, epochs_of
from dataloader.loading.size_schedule import SizeSchedule
from optim.schedules import build_schedule
from utils.distributed import World

PLAN = ScheduleMap(100, 10)
SIZES = SizeSchedule((160, 160), ((4, 96), (8, 128)))


def test_without_changes_a_run_stands_where_its_plan_does() -> None:
    assert [PLAN.position(step) for step in range(101)] == list(range(101))
    assert (PLAN.end, PLAN.epochs) == (100, 10)


@pytest.mark.parametrize(("step", "end"), [(30, 60), (30, 31), (95, 97), (0, 7), (50, 180), (99, 100)])
def test_a_changed_end_is_reached_at_the_end_of_the_plan(step: int, end: int) -> None:
    changed = PLAN.ending(step, end)
    places = [changed.position(each) for each in range(end)]
    assert places[:step] == list(range(step)), "what is done stays done"
    assert places[-1] == 99, "the last step is made at the last rate of the plan"
    assert all(before <= after for before, after in pairwise(places))
    schedule = build_schedule("cosine(floor=0.01)", epochs=10, steps_per_epoch=10, warmup=1)
    assert schedule(places[-1]) == schedule(99)


def test_changes_follow_one_another_without_a_jump() -> None:
    changed = PLAN.ending(20, 60).ending(40, 50)
    places = [changed.position(each) for each in range(50)]
    assert places[-1] == 99
    assert max(after - before for before, after in pairwise(places)) < 8
    assert changed.changes == (Change(20, 20, 60), Change(40, pytest.approx(PLAN.ending(20, 60).position(40)), 50))


def test_small_images_leave_room_for_large_ones_in_a_shorter_run() -> None:
    sizes = [SIZES.at(PLAN.ending(20, 60).planned_epoch(epoch))[1] for epoch in range(6)]
    assert sizes == [96, 96, 96, 128, 128, 160]


@pytest.mark.parametrize(("step", "end"), [(10, 20), (30, 40), (5, 75), (50, 180), (95, 130)])
def test_the_last_epoch_has_the_images_of_the_plans_last_one(step: int, end: int) -> None:
    changed = PLAN.ending(step, end)
    assert changed.planned_epoch(changed.epochs - 1) == 9
    # What was begun is not changed by what is decided in it.
    begun = step // PLAN.per_epoch
    assert [changed.planned_epoch(epoch) for epoch in range(begun)] == [PLAN.planned_epoch(epoch) for epoch in range(begun)]


def test_the_new_end_is_as_late_as_the_seconds_allow() -> None:
    seconds = partial(PLAN.fitted, 20, step_seconds=lambda _: 1.0, end_seconds=2.0)
    for left in (5, 12, 13, 30, 64.5, 200):
        found = seconds(left)
        assert found.seconds_after(20, lambda _: 1.0, 2.0) <= max(left, 3)
        later = found.ending(20, found.end + 3)
        assert later.seconds_after(20, lambda _: 1.0, 2.0) > left
    assert seconds(-5).end == 21, "one step is made to reach the end of the schedule"


class Machine:
    """Walks a run of which every step takes the seconds that `pace` says for it, by a clock of its own."""

    def __init__(self, minutes: float, pace, end: float = 2.0, state=None, clock: float = 0.0) -> None:
        self.time, self.pace, self.end = clock, pace, end
        self.length = TimedLength(
            minutes,
            PLAN,
            SIZES,
            Speed(0, 1 / 160**2),
            images=1,
            accumulate=1,
            end_seconds=2.0,
            clock=lambda: self.time,
            world=World(),
            state=state,
        )

    def walk(self, progress: Progress, *, until: int = 10**9) -> list[tuple[int, float]]:
        """Train until a step; return (step, position) of every step."""
        made, length = [], self.length
        while progress.epoch < length.epochs and progress.step < until:
            length.begin_epoch(progress)
            width = SIZES.at(length.planned_epoch(progress.epoch))[1]
            while progress.batch < length.batches(progress.epoch, 10):
                if progress.step >= until:
                    return made
                made.append((progress.step, length.schedule_position(progress.step)))
                self.time += self.pace(progress.step) * width**2 / 160**2
                progress.batch += 1
                progress.step += 1
                length.look(progress)
            self.time += self.end * self.pace(progress.step)
            progress.next_epoch()
        return made


PACES = {
    "as planned": lambda _: 1.0,
    "twice as slow from the start": lambda _: 2.0,
    "slower on the way": lambda step: 1.0 if step < 40 else 2.5,
    "slower in the last epoch": lambda step: 1.0 if step < 92 else 3.0,
    "four times as fast": lambda _: 0.25,
    "twenty times as fast": lambda _: 0.05,
    "now and then": lambda step: 3.0 if 30 < step < 50 else 1.0,
}


def planned_minutes() -> float:
    """Return the minutes that fit the plan on the machine as it was measured."""
    seconds = PLAN.seconds_after(0, lambda epoch: SIZES.at(epoch)[1] ** 2 / 160**2, 2.0)
    assert usable_seconds((seconds + LEAVING) / 60) == pytest.approx(seconds)
    # No number of steps fits to the last digit, in which clocks of two processes differ.
    return (seconds + LEAVING + 1e-6) / 60


@pytest.mark.parametrize("name", PACES)
def test_the_end_is_met_within_five_percent_whatever_the_machine_does(name: str) -> None:
    machine, minutes = Machine(planned_minutes(), PACES[name]), planned_minutes()
    made = machine.walk(Progress())
    late = 0.05 if name != "slower in the last epoch" else 0.08
    assert 0.93 < machine.time / 60 / minutes < 1 + late, machine.time / 60 / minutes
    assert made[-1][1] == 99, "the schedule reaches its end"
    assert bool(machine.length.map.changes) == (name != "as planned")


@pytest.mark.parametrize("name", PACES)
@pytest.mark.parametrize("at", [3, 20, 45, 55, 90])
def test_a_resumed_run_makes_the_same_decisions(name: str, at: int) -> None:
    whole = Machine(planned_minutes(), PACES[name])
    made = whole.walk(Progress())
    first, progress = Machine(planned_minutes(), PACES[name]), Progress()
    before = first.walk(progress, until=at)
    # The process that goes on has a clock of its own, and needs some time until its first step.
    second = Machine(planned_minutes(), PACES[name], state=first.length.state_dict(), clock=17.0)
    second.time += 9.0
    assert before + second.walk(progress) == made
    assert second.length.map == whole.length.map
    assert epochs_of(second.length.state_dict()) == whole.length.epochs


def test_what_the_first_step_takes_says_nothing_of_the_pace() -> None:
    run = Machine(2, lambda step: 1.0 if step else 60.0)
    run.walk(Progress(), until=8)
    assert run.length.pace() == pytest.approx(1)
