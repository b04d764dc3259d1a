"""Claims about the learning rate over the run."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optim import SCHEDULES
from optim.schedules import build_schedule, warmup_epochs
from utils.errors import UserError


def build(name, *, epochs=10, steps_per_epoch=7, warmup=2.0, **stages):
    return build_schedule(name, epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmup, **stages)


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=40, deadline=None)
@given(epochs=st.integers(1, 60), steps_per_epoch=st.integers(1, 9), warmup=st.floats(0, 100))
def test_every_schedule_learns_in_every_step_and_reaches_its_peak(name, epochs, steps_per_epoch, warmup):
    schedule = build(name, epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmup)
    factors = [schedule(step) for step in range(epochs * steps_per_epoch)]
    assert all(0 < factor <= 1 for factor in factors)
    # A run of a handful of steps may have no step between the warm-up and the descent.
    assert max(factors) == 1 or len(factors) < 8


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_a_function_of_position(name):
    first, second = build(name), build(name)
    forward = [first(step) for step in range(70)]
    assert [second(step) for step in reversed(range(70))] == forward[::-1]


def test_the_default_stages_are_the_published_ones():
    # 85 epochs with 5 of warm-up: s = 20, so the stages end at 5, 35, 55, 75 and 85.
    schedule = build("steps", epochs=85, steps_per_epoch=3, warmup=5.0)
    stages = {0: 0.1, 4: 0.1, 5: 1.0, 34: 1.0, 35: 0.1, 54: 0.1, 55: 0.01, 74: 0.01, 75: 0.001, 84: 0.001}
    assert {epoch: schedule(epoch * 3) for epoch in stages} == stages
    assert {epoch: schedule(epoch * 3 + 2) for epoch in stages} == stages


def test_given_stages_replace_the_default_ones():
    schedule = build("steps", lr_ratios=(0.01, 0.1, 10.0), lr_steps=(3, 6, 9))
    assert [schedule(epoch * 7) for epoch in range(10)] == [0.01] * 3 + [0.1] * 3 + [10.0] * 4


def test_a_stage_may_end_inside_an_epoch():
    schedule = build("steps", steps_per_epoch=4, lr_ratios=(0.5, 1.0), lr_steps=(1.5, 10))
    assert [schedule(step) for step in range(4, 8)] == [0.5, 0.5, 1.0, 1.0]


def test_the_cosine_warms_up_in_equal_parts_and_falls_to_zero():
    schedule = build("cosine", epochs=10, steps_per_epoch=10, warmup=1.0)
    assert [schedule(step) for step in range(11)] == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert schedule(10 + 45) == pytest.approx(0.5)
    assert schedule(10 + 30) == pytest.approx((1 + math.cos(math.pi / 3)) / 2)
    assert 0 < schedule(99) < 1e-3
    assert schedule(100) == schedule(150) == 0


def test_the_cosine_never_climbs_after_the_warm_up():
    factors = [build("cosine")(step) for step in range(14, 75)]
    assert factors == sorted(factors, reverse=True)


def test_a_run_without_warm_up_starts_at_its_peak():
    assert build("cosine", warmup=0.0)(0) == build("steps", warmup=0.0)(0) == 1


def test_a_warm_up_takes_at_most_half_the_run():
    assert warmup_epochs(3.0, epochs=30) == 3
    assert warmup_epochs(3.0, epochs=1) == 0.5
    schedule = build("cosine", epochs=1, steps_per_epoch=10, warmup=3.0)
    assert schedule(5) == 1
    assert schedule(4) < schedule(5) > schedule(6)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"lr_ratios": (1.0, 0.1), "lr_steps": (5.0,)}, "--lr_ratios has 2 values and --lr_steps 1"),
        ({"lr_steps": (5.0,)}, "--lr_ratios has 0 values"),
        ({"lr_ratios": (1.0, 0.1), "lr_steps": (5.0, 5.0)}, "--lr_steps 5 5: .*ascend"),
        ({"lr_ratios": (1.0,), "lr_steps": (0.0,)}, "--lr_steps 0: .*ascend"),
        ({"lr_ratios": (1.0, 0.1), "lr_steps": (5.0, float("nan"))}, "--lr_steps"),
        ({"lr_ratios": (-1.0,), "lr_steps": (5.0,)}, "--lr_ratios -1"),
        ({"lr_ratios": (1.0, 0.1), "lr_steps": (5.0, 11.0)}, "schedule longer than the run: .*--lr_steps.*--epochs"),
    ],
)
def test_stages_that_do_not_fit_name_their_flags(stages, message):
    with pytest.raises(UserError, match=message):
        build("steps", **stages)


def test_stages_belong_to_the_steps_schedule():
    with pytest.raises(UserError, match="--schedule steps"):
        build("cosine", lr_ratios=(1.0,), lr_steps=(5.0,))


@pytest.mark.parametrize(("flag", "wrong"), [("epochs", 0), ("warmup", -1.0), ("warmup", float("nan"))])
def test_impossible_lengths_name_their_flag(flag, wrong):
    with pytest.raises(UserError, match=f"--{flag}"):
        build("cosine", **{flag: wrong})
