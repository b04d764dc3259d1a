"""Runs with --minutes, by a clock that the steps of training drive: what a slow machine would do, in no time."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from applications.training import planning, training_parts
from applications.training.time_plan import Costs, Speed
from config import parse
from optim.stepper import Stepper
from tests.applications.conftest import NETS, Call, read_rows, tiny
from tests.applications.training.test_resume import assert_equal_runs
from utils.checkpoint import load_checkpoint
from utils.runtime import TIME_UP, StopSignal

ARCH = ("--arch", f"{NETS}:TinyNet")
HARD = ("--aug", "flip|crop", "--mixup", "--ema", "--accumulate", 2, "--size_schedule", "12:0.5", "--save_minutes", 1e-6)


class Clock:
    """Seconds that pass with the batches that are trained on: half a second each, times what `pace` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.batches, self.stops = 0.0, 0, set[int]()
        self.pace: Callable[[int], float] = lambda _: 1.0
        step = Stepper.step

        def timed(stepper: Stepper, *args: Any, **more: Any) -> None:
            step(stepper, *args, **more)
            self.seconds += 0.5 * self.pace(self.batches)
            self.batches += 1

        monkeypatch.setattr(Stepper, "step", timed)
        monkeypatch.setattr(training_parts, "program_seconds", lambda: self.seconds)
        monkeypatch.setattr(StopSignal, "received", property(lambda _: TIME_UP if self.batches in self.stops else 0))
        self.measured = Costs(Speed(0.05, 0), Speed(0, 0), 0, 0.0)
        monkeypatch.setattr(planning, "measure_costs", lambda *_, **__: self.measured)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def timed(data: Path, minutes: float, *more: object) -> list[object]:
    """Return the flags of a run with --minutes in place of --epochs."""
    flags = tiny(data, *more)
    at = flags.index("--epochs")
    return [*flags[:at], *flags[at + 2 :], "--minutes", minutes]


def test_a_run_that_was_stopped_and_resumed_equals_one_that_never_stopped(call: Call, colors: Path, clock: Clock) -> None:
    """Stopped before the machine slows down, at the end of an epoch, and in the epoch that became the last."""
    clock.pace = lambda batch: 1.0 if batch < 20 else 2.5
    whole = call(*timed(colors, 0.5, *HARD, "--name", "whole"))
    assert whole.code == 0, whole.err
    # A step takes 8% of the time in the end.
    assert 0.9 * 30 < clock.seconds < 1.05 * 30
    assert "times as long as planned" in whole.out
    assert float(read_rows(whole.run / "metrics.csv")[-1]["lr"]) < 0.02 * 0.02, "the rate has fallen to its floor"
    batches = clock.batches
    clock.seconds, clock.batches, clock.stops = 0.0, 0, {4, 24, 32}
    broken = call(*timed(colors, 0.5, *HARD, "--name", "broken"))
    assert (broken.code, clock.batches) == (0, 4), broken.err
    for stop in (24, 32, batches):
        # Every call has a clock of its own.
        clock.seconds = 400.0 + stop
        again = call("--resume", broken.run, *ARCH, "--save_minutes", 1e-6)
        assert (again.code, clock.batches) == (0, stop), again.err
    plans = [load_checkpoint(run / "last.pt")["plan"]["changes"] for run in (whole.run, broken.run)]
    assert plans[0] == plans[1] != []
    assert_equal_runs(whole.run, broken.run)


def test_a_run_as_planned_equals_that_of_the_flags_that_are_printed(call: Call, colors: Path, clock: Clock) -> None:
    planned = call(*timed(colors, 0.175, "--name", "planned"))
    assert planned.code == 0, planned.err
    plan = load_checkpoint(planned.run / "last.pt")["plan"]
    assert (plan["changes"], plan["steps"]) == ([], clock.batches)
    found = re.search(r"as flags: (.+)", planned.out)
    assert found is not None
    flags = tiny(colors)
    at = flags.index("--epochs")
    plain = call(*flags[:at], *flags[at + 2 :], *shlex.split(found[1]), "--name", "plain")
    assert plain.code == 0, plain.err
    assert_equal_runs(planned.run, plain.run)


def test_a_timed_run_is_repeated_by_its_config(call: Call, colors: Path, clock: Clock) -> None:
    """The images that a short plan keeps in reserve are no part of it."""
    for minutes, val in ((0.17, 15), (0.34, 9)):
        clock.seconds, clock.measured = 0.0, Costs(Speed(0.05, 0), Speed(0.1, 0), val, 0.0)
        planned = call(*timed(colors, minutes, "--size_schedule", 16))
        assert planned.code == 0, planned.err
        plan = load_checkpoint(planned.run / "last.pt")["plan"]
        assert plan["epoch_size"], "there is a reserve"
        found = re.search(r"as flags: (.+)", planned.out)
        assert found is not None
        saved = json.loads((planned.run / "config.json").read_text(encoding="utf-8"))
        shown = parse(shlex.split(found[1])).config.to_dict()
        assert [saved[name] for name in ("epochs", "epoch_size")] == [shown[name] for name in ("epochs", "epoch_size")]
        clock.batches = 0
        again = call("--config", planned.run / "config.json", "--workers", 0)
        assert again.code == 0, again.err
        assert clock.batches == pytest.approx(plan["changes"][0][2], rel=0.1), "but for the time of validations that the reserve saves"


def test_a_curriculum_comes_to_its_end_in_a_run_with_a_reserve(call: Call, colors: Path, clock: Clock) -> None:
    """It goes by the epochs of the plan, of which there are more than the run has; and so after a stop."""
    clock.measured = Costs(Speed(0.05, 0), Speed(0.1, 0), 9, 0.0)
    flags = timed(colors, 0.34, "--size_schedule", 16, "--curriculum", "selfpaced(start=0.2)")
    whole = call(*flags, "--name", "whole")
    assert whole.code == 0, whole.err
    assert "3 epochs of" in whole.out
    batches, content = clock.batches, load_checkpoint(whole.run / "last.pt")
    assert content["epoch"] == 2
    pace = content["teaching"]["pace"]
    assert pace["done"] == 2 / 3
    assert pace["weights"].mean() == pytest.approx(0.2 + 0.8 * (2 / 3) / 0.7, abs=0.02)
    clock.seconds, clock.batches, clock.stops = 0.0, 0, {13, 26}
    broken = call(*flags, "--name", "broken", "--save_minutes", 1e-6)
    assert broken.code == 0, broken.err
    for stop in (26, batches):
        again = call("--resume", broken.run, *ARCH, "--save_minutes", 1e-6)
        assert (again.code, clock.batches) == (0, stop), again.err
    assert_equal_runs(whole.run, broken.run)


def test_a_run_of_one_epoch_goes_on_in_the_time_that_a_faster_machine_leaves(call: Call, colors: Path, clock: Clock) -> None:
    """Without another validation, whose time there is not; and resumed as if it had never stopped."""
    # An epoch ends with a sixth of the budget: there is room for one, of a part of the images.
    clock.measured = Costs(Speed(0.05, 0), Speed(0.1, 0), 15, 0.0)
    clock.pace = lambda batch: 1.0 if batch < 4 else 0.85
    whole = call(*timed(colors, 0.17, "--name", "whole"))
    assert whole.code == 0, whole.err
    batches, planned = clock.batches, re.search(r"1 epoch of (\d+) images", whole.out)
    assert planned is not None, whole.out
    assert batches > int(planned[1]) / 10, "more than planned"
    assert 0.95 * 0.17 * 60 < clock.seconds + 1.5 < 0.17 * 60
    assert float(read_rows(whole.run / "metrics.csv")[-1]["lr"]) < 0.02 * 0.05, "the rate has fallen to its floor"
    clock.seconds, clock.batches, clock.stops = 0.0, 0, {3, 11}
    broken = call(*timed(colors, 0.17, "--name", "broken", "--save_minutes", 1e-6))
    assert broken.code == 0, broken.err
    for stop in (11, batches):
        again = call("--resume", broken.run, *ARCH, "--save_minutes", 1e-6)
        assert (again.code, clock.batches) == (0, stop), again.err
    assert_equal_runs(whole.run, broken.run)


def test_trained_weights_keep_their_first_blocks_where_the_time_is_short(call: Call, colors: Path, clock: Clock) -> None:
    start = call(*timed(colors, 0.17)).run / "best.pt"
    clock.seconds = 0.0
    short = call(*timed(colors, 0.17, "--init_from", start))
    assert short.code == 0, short.err
    assert re.search(r"as flags: .*--freeze 1", short.out)
    before, after = (load_checkpoint(file)["state_dict"] for file in (start, short.run / "best.pt"))
    learned = [name for name, value in after.items() if value.is_floating_point() and not value.equal(before[name])]
    assert 0 < len(learned) < len(after), "some blocks learn, and some do not"
    for minutes, more in ((0.17, ("--freeze", "none")), (9, ())):
        clock.seconds = 0.0
        clock.stops = {clock.batches + 1}
        other = call(*timed(colors, minutes, "--init_from", start, *more))
        assert (other.code, "blocks frozen" in other.out, "block frozen" in other.out) == (0, False, False), other.err


def test_every_layer_learns_to_be_rounded_for_as_many_epochs_as_the_time_allows(call: Call, colors: Path, clock: Clock) -> None:
    start = call(*timed(colors, 0.17)).run / "best.pt"
    clock.seconds = 0.0
    outcome = call(*timed(colors, 0.4, "--init_from", start, "--quantization_aware"))
    assert outcome.code == 0, outcome.err
    plan = re.search(r"as flags: --epochs (\d+)", outcome.out)
    assert plan is not None
    assert len(read_rows(outcome.run / "metrics.csv")) >= int(plan[1]) > 5
    assert "--freeze" not in outcome.out
    before, after = (load_checkpoint(file)["state_dict"] for file in (start, outcome.run / "last.pt"))
    layers = [name for name, value in after.items() if name.endswith("weight") and value.ndim > 1]
    assert not any(after[name].equal(before[name]) for name in layers)


def test_a_run_of_one_epoch_ends_in_time_where_all_of_it_is_slower_than_measured(call: Call, colors: Path, clock: Clock) -> None:
    """Its only validation is a third of the time, and nothing was seen of it but how slow the steps are."""
    minutes, slower, val = 0.17, 1.4, 15
    clock.measured = Costs(Speed(0.05, 0), Speed(3.4 / val, 0), val, 0.0)
    clock.pace = lambda _: slower
    outcome = call(*timed(colors, minutes))
    assert outcome.code == 0, outcome.err
    assert "plan      0.17 minutes, of which 0 s are gone: 1 epoch of" in outcome.out
    assert clock.seconds + slower * 3.4 < 1.05 * 60 * minutes


def test_the_end_of_the_first_epoch_is_expected_with_the_batches_of_the_plan(call: Call, colors: Path, clock: Clock) -> None:
    """Batch-norm statistics are measured on whole ones."""
    clock.measured, clock.stops = Costs(Speed(0.05, 0), Speed(0.02, 0), 15, 0.1, norms=512), {1}
    outcome = call(*timed(colors, 0.4, "--batch_size", 45))
    assert outcome.code == 0, outcome.err
    images = load_checkpoint(outcome.run / "last.pt")["plan"]["epoch_size"] or 60
    by_batches, by_images = (clock.measured.end((16, 16), images, batch=batch) for batch in (45, 1))
    assert abs(by_batches - by_images) > 0.1
    assert load_checkpoint(outcome.run / "last.pt")["plan"]["end_seconds"] == pytest.approx(by_batches)


@pytest.mark.usefixtures("clock")
def test_a_resumed_run_keeps_its_plan(call: Call, colors: Path) -> None:
    run = call(*timed(colors, 0.17)).run
    before = (run / "last.pt").read_bytes()
    for flag, value in (("--minutes", 3), ("--batch_size", 5), ("--epochs", 9)):
        outcome = call("--resume", run, *ARCH, flag, value)
        assert outcome.code == 2
        assert f"{flag} cannot change" in outcome.err
        assert outcome.err.count("\n") == 1
    done = call("--resume", run, *ARCH)
    assert (done.code, (run / "last.pt").read_bytes()) == (0, before)
    assert "is complete" in done.out
    plain = call(*tiny(colors)).run
    assert "--minutes cannot change" in call("--resume", plain, *ARCH, "--minutes", 3).err


def test_a_time_too_short_is_refused_before_anything_is_written(call: Call, colors: Path, clock: Clock, tmp_path: Path) -> None:
    outcome = call(*timed(colors, 0.005))
    assert outcome.code == 2
    assert re.search(r"--minutes 0.005 is too short: .*Give --minutes 0.1 or more", outcome.err)
    assert not (tmp_path / "runs").exists()
    assert clock.batches == 0


def test_resume_auto_goes_on_with_the_same_command(call: Call, colors: Path, clock: Clock) -> None:
    clock.stops = {5}
    run = call(*timed(colors, 0.175)).run
    clock.stops = set()
    again = call(*timed(colors, 0.175), "--resume", "auto")
    assert again.code == 0, again.err
    assert again.run == run
    assert clock.batches == 20


def test_resume_auto_finds_a_run_whose_plan_keeps_blocks_frozen(call: Call, colors: Path, clock: Clock) -> None:
    start = call(*timed(colors, 0.17, "--name", "start")).run.resolve() / "best.pt"
    flags = timed(colors, 0.17, "--init_from", start)
    clock.seconds, clock.batches, clock.stops = 0.0, 0, {5}
    run = call(*flags)
    assert "block frozen" in run.out
    clock.stops = set()
    assert call(*flags, "--resume", "auto").run == run.run
    assert "no run" in call(*flags, "--freeze", "none", "--resume", "auto").out


def test_this_machine_is_measured_by_steps_that_leave_no_trace(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the clock of the machine itself: a run of a few seconds more than its start takes."""
    monkeypatch.setattr(planning, "SHORTEST", 0.05)
    costs: list[Costs] = []
    measure = planning.measure_costs
    monkeypatch.setattr(planning, "measure_costs", lambda *args, **more: costs.append(measure(*args, **more)) or costs[-1])
    monkeypatch.setattr(planning, "program_seconds", lambda: 0.0)
    begun = training_parts.program_seconds()
    monkeypatch.setattr(training_parts, "program_seconds", lambda now=training_parts.program_seconds: now() - begun)
    outcome = call(*timed(colors, 0.04))
    assert outcome.code == 0, outcome.err
    assert costs[0].training.seconds((16, 16)) > 0
    assert costs[0].scoring.seconds((16, 16)) > 0
    assert "plan      0.04 minutes" in outcome.out
