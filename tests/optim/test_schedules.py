"""Claims about the learning rate over the run."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optim import SCHEDULES
from optim.noise import RateNoise, read_noise
from optim.schedules import build_schedule, usual_warmup
from utils.errors import UserError


def build(name, *, epochs=10, steps_per_epoch=7, warmup=2.0, **stages):
    return build_schedule(name, epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmup, **stages)


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=40, deadline=None)
@given(epochs=st.integers(1, 60), steps_per_epoch=st.integers(1, 9), warmed=st.floats(0, 0.5))
def test_every_schedule_learns_in_every_step_and_reaches_its_peak(name, epochs, steps_per_epoch, warmed):
    schedule = build(name, epochs=epochs, steps_per_epoch=steps_per_epoch, warmup=warmed * epochs)
    factors = [schedule(step) for step in range(epochs * steps_per_epoch)]
    assert all(0 < factor <= 1 for factor in factors)
    # A run of a handful of steps may have no step between the warm-up and the descent.
    assert max(factors) == pytest.approx(1, abs=1e-3 if name != "onecycle" else 0.05) or len(factors) < 8


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


def test_the_usual_warm_up_takes_at_most_a_tenth_of_the_run():
    assert [usual_warmup(epochs) for epochs in (1, 5, 30, 300)] == [0.1, 0.5, 3, 3]
    schedule = build("cosine", epochs=5, steps_per_epoch=10, warmup=None)
    assert schedule(4) < schedule(5) == 1 > schedule(6)


def test_a_warm_up_that_was_asked_for_is_obeyed():
    schedule = build("cosine", epochs=5, steps_per_epoch=10, warmup=4.0)
    assert schedule(39) < schedule(40) == 1 > schedule(41)


@pytest.mark.parametrize(("epochs", "warmup"), [(5, 5.0), (1, 3.0)])
def test_a_warm_up_as_long_as_the_run_is_refused(epochs, warmup):
    with pytest.raises(UserError, match="schedule longer than the run: --warmup"):
        build("cosine", epochs=epochs, warmup=warmup)
    assert build("onecycle", epochs=epochs, warmup=warmup)(0) > 0, "its climb takes the place of the warm-up"


@pytest.mark.parametrize("name", ["cosine", "cosine(t_max=5)", "linear", "step", "plateau", "constant"])
def test_a_warm_up_climbs_from_the_rate_that_is_named(name):
    schedule = build(name, epochs=10, steps_per_epoch=10, warmup=2.0, lr=0.5, warmup_lr=0.1)
    assert [0.5 * schedule(step) for step in (0, 5, 10, 15, 20)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("cosine", {"warmup_lr": 2.0}, "--warmup_lr 2 is outside"),
        ("cosine", {"warmup_lr": 0.1, "warmup": 0.0}, "is not used"),
        ("onecycle", {"warmup_lr": 0.1}, "is not used"),
        ("steps", {"warmup_lr": 0.1}, "is not used"),
        ("cosine", {"cooldown": 10}, "--cooldown 10: give fewer"),
        ("cosine", {"cooldown": 2}, "rate of 0; give it an end"),
        ("constant", {"cooldown": 2}, "is not used"),
        ("plateau", {"cooldown": 2}, r"plateau\(cooldown=N\)"),
        ("multistep(9)", {"cooldown": 2}, "--epochs less --cooldown is 8"),
        ("cosine(t_max=11)", {}, "schedule longer than the run"),
        ("cosine(t_max=5,cycles=2)", {}, "leave one kind out"),
        ("cosine(t_max=5,eta_min=1)", {}, "eta_min=1 is outside"),
        ("cosine(eta_min=0.1)", {}, "goes with t_max"),
        ("plateau(cooldown=-1)", {}, "cooldown=-1"),
    ],
)
def test_settings_that_nothing_would_use_or_that_do_not_fit_are_refused(name, more, message):
    with pytest.raises(UserError, match=message):
        build(name, **more)


@pytest.mark.parametrize("name", ["cosine(floor=0.1)", "steps", "linear(floor=0.2)", "onecycle", "step"])
def test_a_cooldown_keeps_the_last_rate(name):
    whole, cooled = build(name, epochs=8), build(name, epochs=10, cooldown=2)
    assert [cooled(step) for step in range(56)] == [whole(step) for step in range(56)]
    assert {cooled(step) for step in range(56, 70)} == {whole(56)}


@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_a_wave_is_that_of_torch(warmup):
    """CosineAnnealingLR stepped on beyond T_max: down in five epochs, up in five."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5, eta_min=1e-5)
    schedule = build("cosine(t_max=5,eta_min=1e-5)", epochs=40, warmup=warmup, lr=1e-3)
    for epoch in range(38):
        assert 1e-3 * schedule(int((warmup + epoch) * 7)) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_noise_is_a_function_of_seed_and_epoch_within_its_limit():
    noise = RateNoise(0.3, 0.25, 0.75, seed=5)
    calm, shaken = build("cosine", epochs=20), build("cosine", epochs=20, noise=noise)
    factors = [shaken(7 * epoch + 3) / calm(7 * epoch + 3) for epoch in range(20)]
    assert [shaken(step) for step in range(139, -1, -1)][::-1] == [shaken(step) for step in range(140)]
    assert all(factor == 1 for factor in (*factors[:5], *factors[15:]))
    assert all(0.7 < factor < 1.3 for factor in factors[5:15])
    assert len(set(factors[5:15])) == 10
    assert shaken(45) / calm(45) == pytest.approx(factors[6]), "an epoch has one factor"
    assert build("cosine", epochs=20, noise=RateNoise(0.3, 0.25, 0.75, seed=6))(45) != shaken(45)


def test_noise_is_a_normal_cut_at_its_limit():
    noise = RateNoise(0.67)
    drawn = torch.tensor([noise(epoch, epochs=2000, steps_per_epoch=1) - 1 for epoch in range(2000)])
    # Of a standard normal cut at 0.67: mean 0, standard deviation 0.374.
    assert abs(float(drawn.mean())) < 0.03
    assert float(drawn.std()) == pytest.approx(0.374, abs=0.015)


def test_a_plateau_is_shaken_too():
    plateau = build("plateau(patience=0,factor=0.5)", epochs=20, warmup=0, noise=RateNoise(0.3), hold_from=105)
    before = plateau(30)
    assert before != 1
    plateau.observe({"loss": 1.0})
    plateau.observe({"loss": 2.0})
    assert plateau(30) == before / 2
    assert {plateau(step) for step in range(105, 140)} == {0.5}, "weights are averaged at an even rate"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("more", [{"cooldown": 4}, {"hold_from": 42}, {"cooldown": 2, "hold_from": 42}, {"cooldown": 4, "hold_from": 49}])
def test_noise_ends_where_the_rate_is_held(more, seed):
    calm, shaken = (build("cosine(floor=0.1)", epochs=10, noise=noise, **more) for noise in (None, RateNoise(0.67, seed=seed)))
    before, after = range(42), range(42, 70)
    assert len({shaken(step) / calm(step) for step in before}) >= 6, "a factor an epoch"
    assert [shaken(step) for step in after] == [calm(step) for step in after]
    assert len({calm(step) for step in after}) == 1, "one rate"


def test_the_rate_is_held_from_a_step_on():
    whole, held = build("cosine"), build("cosine", hold_from=30)
    assert [held(step) for step in range(70)] == [whole(min(step, 30)) for step in range(70)]


@pytest.mark.parametrize("values", [(0.0,), (1.0,), (0.3, 0.9, 0.4), (0.3, 0.4, 1.1), (0.3, 0.1, 0.2, 0.3)])
def test_noise_that_cannot_be_read_names_its_flag(values):
    with pytest.raises(UserError, match="--lr_noise"):
        read_noise(values, seed=0)
    assert read_noise((), seed=0) is None


@pytest.mark.parametrize("cooldown", [0, 2])
def test_a_plateau_falls_when_torch_says_so(cooldown):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, cooldown=cooldown, threshold=1e-4, threshold_mode="abs"
    )
    schedule = build(f"plateau(patience=1,factor=0.5,cooldown={cooldown})", epochs=40, warmup=0)
    losses = torch.rand(40, generator=torch.Generator().manual_seed(0)).tolist()
    for loss in losses:
        schedule.observe({"loss": loss})
        reference.step(loss)
        assert schedule(0) == optimizer.param_groups[0]["lr"]
    assert schedule(0) < 0.1


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


CURVES = {
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    "cosine(k=2)": lambda x: (1 + math.cos(math.pi * x**2)) / 2,
    "cosine(t_max=4,eta_min=0.2)": lambda x: 0.2 + 0.8 * (1 + math.cos(math.pi * 2 * x)) / 2,
    "cosine(floor=0.2)": lambda x: 0.2 + 0.8 * (1 + math.cos(math.pi * x)) / 2,
    "linear": lambda x: 1 - x,
    "linear(floor=0.5)": lambda x: 1 - x / 2,
    "poly": lambda x: (1 - x) ** 0.9,
    "poly(power=2)": lambda x: (1 - x) ** 2,
    "tanh": lambda x: (1 - math.tanh(-7 + 10 * x)) / 2,
    "constant": lambda _x: 1.0,
    "plateau": lambda _x: 1.0,
}


@pytest.mark.parametrize("spec", CURVES)
def test_curves_follow_their_formula_after_the_warm_up(spec):
    schedule = build(spec, epochs=10, steps_per_epoch=20, warmup=2.0)
    for step in range(40, 201, 7):
        assert schedule(step) == pytest.approx(CURVES[spec]((step - 40) / 160))


ENDS = {"cosine": 0, "steps": 0.001, "linear": 0, "poly": 0, "tanh": 0.0025, "onecycle": 4e-6, "step": 0.01, "multistep": 0.01}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_ends_where_it_should(name):
    schedule = build(name, epochs=12, steps_per_epoch=100)
    assert schedule(1200) == pytest.approx(ENDS.get(name, 1.0), abs=1e-4)
    assert schedule(1199) == pytest.approx(ENDS.get(name, 1.0), rel=0.2, abs=2e-3)


def test_restarts_climb_back_to_a_decaying_peak():
    schedule = build("cosine(cycles=4,decay=0.5)", epochs=8, steps_per_epoch=10, warmup=0)
    assert [schedule(step) for step in (0, 20, 40, 60)] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert [schedule(step) for step in (10, 30, 50, 70)] == pytest.approx([0.5, 0.25, 0.125, 0.0625])
    assert schedule(80) == 0


def test_one_cycle_climbs_and_falls():
    schedule = build("onecycle(peak=0.25,start=0.1,end=0.01)", epochs=1, steps_per_epoch=101, warmup=5)
    assert [schedule(step) for step in (0, 25, 100)] == pytest.approx([0.1, 1.0, 0.01])
    # Half a cosine: a quarter of the way up it has climbed 15% of the height.
    assert schedule(6) == pytest.approx(0.1 + 0.9 * 0.5 * (1 - math.cos(math.pi * 6 / 25)))
    factors = [schedule(step) for step in range(101)]
    assert factors[:26] == sorted(factors[:26])
    assert factors[25:] == sorted(factors[25:], reverse=True)


def test_falls_come_at_their_epochs():
    assert [build("step(every=4,gamma=0.5)", warmup=0)(epoch * 7) for epoch in range(10)] == [1] * 4 + [0.5] * 4 + [0.25] * 2
    assert [build("multistep(3,8,gamma=0.5)", warmup=0)(epoch * 7) for epoch in range(10)] == [1] * 3 + [0.5] * 5 + [0.25] * 2


@pytest.mark.parametrize(("mode", "values"), [("min", [3, 2, 2, 2, 2, 1, 1, 1, 1]), ("max", [3, 4, 4, 4, 4, 5, 5, 5, 5])])
def test_a_plateau_of_validation_lowers_the_rate_in_either_direction(mode, values):
    schedule = build(f"plateau(metric=score,mode={mode},patience=2,factor=0.5)", warmup=0)
    factors = []
    for value in values:
        schedule.observe({"score": value})
        factors.append(schedule(30))
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_a_plateau_watches_the_loss_downward_and_anything_else_upward():
    for metric, better in (("loss", -1), ("top1", 1)):
        schedule = build(f"plateau(metric={metric},patience=0)", warmup=0)
        for epoch in range(4):
            schedule.observe({metric: better * epoch})
        assert schedule(50) == 1
        schedule.observe({metric: 0})
        assert schedule(50) == pytest.approx(0.1)


def test_a_plateau_of_an_unknown_figure_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean top1"):
        build("plateau(metric=top2)").observe({"loss": 1.0, "top1": 0.5})


def test_a_plateau_stops_at_its_floor():
    schedule = build("plateau(patience=0,floor=0.05)", warmup=0)
    for _ in range(9):
        schedule.observe({"loss": 1.0})
    assert schedule(50) == 0.05


@pytest.mark.parametrize(
    "spec",
    ["cosine(cycles=11)", "step(every=10)", "multistep(5,10)", "multistep(30)", "plateau(patience=10)"],
)
def test_a_schedule_longer_than_the_run_is_refused(spec):
    with pytest.raises(UserError, match=r"schedule longer than the run: .*--epochs"):
        build(spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cosinus", "Did you mean cosine"),
        ("cosine(cycle=2)", "Did you mean cycles"),
        ("cosine(2)", "no schedule"),
        ("cosine(cycles=0)", "cycles=0"),
        ("cosine(k=0)", "k=0"),
        ("cosine(k=x)", "no schedule"),
        ("linear(floor=1)", "floor=1"),
        ("poly(power=-1)", "power=-1"),
        ("tanh(lower=3,upper=1)", "lower=3"),
        ("onecycle(peak=0)", "peak=0"),
        ("step(every=0)", "every=0"),
        ("step(gamma=2)", "gamma=2"),
        ("multistep(5,3)", "ascend"),
        ("plateau(mode=down)", "mode=down"),
        ("plateau(factor=1.5)", "factor=1.5"),
        ("constant(lr=1)", "nothing"),
        ("cosine|linear", "one schedule"),
    ],
)
def test_a_wrong_spec_is_answered_in_one_line(spec, said):
    with pytest.raises(UserError, match=said) as caught:
        build(spec)
    assert "\n" not in str(caught.value)


def test_a_schedule_of_the_users_own_gets_the_length_of_the_run(tmp_path):
    file = tmp_path / "my_schedule.py"
    file.write_text("def build(span, *, low):\n    return lambda step: low + step / span.steps\n")
    assert build(f"{file}:build(low=0.5)", epochs=2, steps_per_epoch=5)(5) == 1.0


def test_stages_belong_to_the_steps_schedule():
    with pytest.raises(UserError, match="--schedule steps"):
        build("cosine", lr_ratios=(1.0,), lr_steps=(5.0,))


@pytest.mark.parametrize(("flag", "wrong"), [("epochs", 0), ("warmup", -1.0), ("warmup", float("nan"))])
def test_impossible_lengths_name_their_flag(flag, wrong):
    with pytest.raises(UserError, match=f"--{flag}"):
        build("cosine", **{flag: wrong})


def test_a_restart_never_lies_below_the_floor():
    schedule = build("cosine(cycles=5,decay=0.1,floor=0.01)", epochs=10, steps_per_epoch=10, warmup=0)
    factors = [schedule(step) for step in range(100)]
    assert min(factors) >= 0.01
    last = factors[-20:]
    assert last == sorted(last, reverse=True)
