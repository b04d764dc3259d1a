"""The plan of --minutes, over machines, data sets and budgets of all sizes; nothing is trained."""

from dataclasses import replace
from itertools import product

import pytest

from applications.training.time_plan import (
    FEW_EPOCHS,
    FEWEST_EPOCHS,
    FORWARD,
    MOST_EPOCHS,
    PASSES,
    PASSES_PRETRAINED,
    SMALL_BELOW,
    Costs,
    Plan,
    Speed,
    Wishes,
    candidate_sides,
    make_plan,
    passes_of,
    stages_of,
    usable_seconds,
    usual_batch,
    with_room,
)
from optim.schedules import build_schedule
from utils.errors import UserError

IMAGES = (2, 7, 33, 500, 1768, 50_000, 1_000_000)
MINUTES = (0.1, 0.5, 2, 10, 60, 600)
SIDES = (32, 96, 160, 224, 512, None)
# Seconds of a training image of 224 x 224 pixels: a large GPU, a workstation, a slow CPU.
SPEEDS = (1e-4, 0.01, 0.3)


def costs_of(images: int, speed: float, spent: float = 2.5) -> Costs:
    """Return the costs of a machine, with a tenth of the images for validation; a ninth of a training image does not depend on its size."""
    training = Speed(0.1 * speed, 0.9 * speed / 224**2)
    return Costs(training, Speed(0.03 * speed, 0.3 * speed / 224**2), max(2, images // 10), 0.3, spent)


def wishes_of(side: int | None, **more: object) -> Wishes:
    return Wishes(tuple((each, each) for each in candidate_sides(400)) if side is None else ((side, side),), **more)  # pyright: ignore[reportArgumentType]


def seconds_of(plan: Plan, costs: Costs, images: int) -> float:
    """Count the seconds of a plan anew, epoch by epoch and batch by batch."""
    total, sizes, drawn = costs.spent, plan.sizes(), plan.epoch_size or images
    for epoch in range(plan.epochs):
        height, width = sizes.at(epoch)
        total += drawn * (costs.training.image + costs.training.pixel * height * width)
        total += costs.scored * (costs.scoring.image + costs.scoring.pixel * plan.image_size[0] * plan.image_size[1]) + costs.saving
    return total


@pytest.mark.parametrize("images", IMAGES)
def test_every_plan_ends_in_time_and_uses_the_time_and_every_refusal_names_a_time_that_is_enough(images: int) -> None:
    refused = 0
    for minutes, side, speed, batch in product(MINUTES, SIDES, SPEEDS, (None, 64)):
        costs, wishes = costs_of(images, speed), wishes_of(side, batch_size=batch)
        case = (images, minutes, side, speed, batch)
        try:
            plan = make_plan(costs, wishes, images=images, minutes=minutes)
        except UserError as error:
            refused += 1
            least = float(str(error).split("Give --minutes ")[1].split(" or more")[0])
            assert least > minutes, case
            assert make_plan(costs, wishes, images=images, minutes=least), case
            continue
        took = seconds_of(plan, costs, images)
        assert took == pytest.approx(plan.seconds), case
        assert took <= 60 * minutes, case
        # What is left is less than a step that would still fit, or a few percent.
        step = plan.batch_size * costs.training.seconds(plan.image_size)
        assert 60 * minutes - took <= max(0.05 * 60 * minutes, 60 * minutes - usable_seconds(minutes) + plan.epochs * step), case
    assert refused < len(MINUTES) * len(SIDES) * len(SPEEDS) * 2 / 2


@pytest.mark.parametrize("images", IMAGES)
def test_a_refusal_names_a_time_that_is_enough_where_norms_are_measured(images: int) -> None:
    refused = 0
    for minutes, side, norms, masks in product((0.1, 0.5, 2), (64, 224, None), (500, 4096), (False, True)):
        costs = replace(costs_of(images, 2.0), norms=norms)
        wishes = wishes_of(side, stages=masks, small_below=SMALL_BELOW if masks else 0.0)
        try:
            make_plan(costs, wishes, images=images, minutes=minutes)
        except UserError as error:
            refused += 1
            least = float(str(error).split("Give --minutes ")[1].split(" or more")[0])
            assert least > minutes
            assert make_plan(costs, wishes, images=images, minutes=least)
    assert refused


@pytest.mark.parametrize("images", IMAGES)
def test_the_schedule_of_every_plan_warms_up_and_reaches_its_floor(images: int) -> None:
    for minutes, side, speed in product(MINUTES, SIDES, SPEEDS):
        try:
            plan = make_plan(costs_of(images, speed), wishes_of(side), images=images, minutes=minutes)
        except UserError:
            continue
        case = (images, minutes, side, speed)
        assert 1 <= plan.epochs <= MOST_EPOCHS, case
        steps = max(1, (plan.epoch_size or images) // plan.batch_size)
        schedule = build_schedule("cosine", epochs=plan.epochs, steps_per_epoch=steps, warmup=plan.warmup)
        total = plan.epochs * steps
        assert int(plan.warmup * steps) <= 0.2 * total, case
        if total >= 20:
            assert schedule(int(plan.warmup * steps)) == 1, case
            assert schedule(total - 1) < 0.02, case
        widths = [width for _, width in plan.sizes().all()]
        assert widths == sorted(widths), "sizes grow"
        assert plan.epochs < 2 or plan.sizes().at(plan.epochs - 1) == plan.image_size, "the last epoch is as large as validation"


def test_the_end_of_the_program_has_its_seconds_in_every_budget() -> None:
    for minutes, left in ((0.1, 0.18), (0.5, 0.9), (1, 1.5), (2, 1.5), (10, 6), (600, 360)):
        assert 60 * minutes - usable_seconds(minutes) == pytest.approx(left)


def test_more_time_buys_larger_images_and_more_passes() -> None:
    plans = [make_plan(costs_of(1768, 0.02), wishes_of(None), images=1768, minutes=minutes) for minutes in (1, 3, 10, 60, 600)]
    sides = [plan.image_size[0] for plan in plans]
    assert sides == sorted(sides)
    assert sides[0] == 96
    assert sides[-1] == 224
    seen = [plan.epochs * (plan.epoch_size or 1768) for plan in plans]
    assert seen[-1] > seen[0]
    assert all(count >= PASSES * 1768 for count, side in zip(seen, sides, strict=True) if side > 96)


def test_large_data_is_seen_in_part() -> None:
    costs = Costs(Speed(0, 0.01 / 224**2), Speed(0, 0.003 / 224**2), 2000, 0.3)
    plan = make_plan(costs, wishes_of(96), images=1_000_000, minutes=10)
    assert plan.epoch_size is not None
    assert plan.epoch_size < 1_000_000
    assert plan.epochs >= FEWEST_EPOCHS
    assert "of all" in plan.describe(1_000_000)


def test_batch_norm_statistics_cost_what_a_part_of_the_epoch_costs() -> None:
    size, scoring = (96, 96), Speed(0.01, 0.0)
    without = Costs(Speed(0.03, 0.0), scoring, 50, 0.0)
    wanted = replace(without, norms=512)
    assert without.end(size, 400) == pytest.approx(0.5)
    # At least 128 images, a quarter of a longer epoch, and no more than are wanted or there.
    for images, counted in ((100, 100), (400, 128), (1000, 250), (10_000, 512)):
        assert wanted.end(size, images) == pytest.approx(0.5 + FORWARD * 0.03 * counted)


def test_batch_norm_statistics_are_measured_on_whole_batches() -> None:
    costs = Costs(Speed(0.03, 0.0), Speed(0.01, 0.0), 50, 0.0, norms=512)
    assert costs.end((96, 96), 2048, batch=1024) == pytest.approx(0.5 + FORWARD * 0.03 * 1024)


def test_a_short_epoch_leaves_time_for_more_validations() -> None:
    costs = Costs(Speed(0.05, 0.0), Speed(0.02, 0.0), 50, 0.0, norms=512)
    plan = make_plan(costs, wishes_of(96), images=400, minutes=3)
    assert plan.epochs >= FEWEST_EPOCHS
    assert seconds_of(plan, costs, 400) <= 180


def test_few_passes_for_a_decoder_are_made_at_a_smaller_size_and_many_end_at_the_full_one() -> None:
    costs = Costs(Speed(0.017, 7.8e-7), Speed(0.001, 3.4e-7), 101, 0.5, 13.0, norms=512)
    wishes = Wishes(((256, 352),), batch_size=8, passes=PASSES_PRETRAINED, small_below=SMALL_BELOW)
    few, many = (make_plan(costs, wishes, images=367, minutes=minutes) for minutes in (4, 30))
    assert few.size_schedule == "224:1,352"
    assert {few.sizes().at(epoch)[1] for epoch in range(few.epochs)} == {224}
    assert many.sizes().at(many.epochs - 1) == (256, 352)
    assert passes_of(many, 367) > SMALL_BELOW > passes_of(make_plan(costs, replace(wishes, small_below=0), images=367, minutes=4), 367)
    # What is trained at one size can go on when the machine turns out faster.
    grown, ends = with_room(few, wishes)
    assert grown.epoch_size is None or few.epochs > FEW_EPOCHS or ends < grown.epochs


@pytest.mark.parametrize("epochs", range(1, FEW_EPOCHS + 1))
def test_a_short_run_ends_half_through_an_epoch_and_can_grow(epochs: int) -> None:
    plan = Plan(epochs, 1000, (96, 96), None, 32, 0.1, 60.0)
    grown, ends = with_room(plan, wishes_of(96))
    assert grown.epoch_size is not None
    assert grown.epoch_size * ends == pytest.approx(1000 * epochs)
    assert ends % 1 == pytest.approx(0.5, abs=0.01)
    assert ends <= epochs


def test_what_the_user_has_settled_stays() -> None:
    costs = costs_of(1768, 0.01)
    wishes = wishes_of(160, size_schedule="64:0.5,160", batch_size=8, epoch_size=100, warmup=0.5)
    plan = make_plan(costs, wishes, images=1768, minutes=5)
    assert (plan.image_size, plan.size_schedule, plan.batch_size, plan.epoch_size, plan.warmup) == ((160, 160), "64:0.5,160", 8, 100, 0.5)
    assert seconds_of(plan, costs, 1768) <= 300
    with pytest.raises(UserError, match=r"too short.*an epoch of --epoch_size 100000.*smaller --epoch_size"):
        make_plan(costs, wishes_of(160, epoch_size=100_000), images=1768, minutes=1)


def test_the_flags_that_are_printed_are_the_plan() -> None:
    import config

    plan = make_plan(costs_of(1768, 0.01), wishes_of(None), images=1768, minutes=5)
    read = config.parse(plan.flags().split()).config.to_dict()
    for name, value in plan.settings().items():
        assert read[name] == (list(value) if isinstance(value, tuple) else value), name


def test_speed_is_fitted_to_what_was_measured_and_never_negative() -> None:
    speed = Speed.fitted({(96, 96): 0.002, (224, 224): 0.008})
    assert speed.seconds((96, 96)) == pytest.approx(0.002)
    assert speed.seconds((224, 224)) == pytest.approx(0.008)
    for measured in ({(96, 96): 0.009, (224, 224): 0.008}, {(96, 96): 1e-6, (224, 224): 0.008}, {(64, 64): 0.1}):
        speed = Speed.fitted(measured)
        assert speed.image >= 0
        assert speed.pixel >= 0
        assert speed.seconds((224, 224)) > 0


def test_stages_shrink_with_the_run_and_small_images_have_none() -> None:
    assert stages_of((160, 160), 5) == "96:0.4,128:0.8,160"
    assert stages_of((224, 224), 2) == "160:0.5,224"
    assert stages_of((224, 224), 1) is None
    assert stages_of((32, 32), 9) is None


def test_sizes_to_choose_from_stop_at_those_of_the_images() -> None:
    assert candidate_sides(400)[-1] == 224
    assert candidate_sides(150)[-1] == 160
    assert candidate_sides(32) == (32,)


@pytest.mark.parametrize(("images", "processes", "batch"), [(9, 2, 8), (1000, 2, 32), (1000, 3, 30), (3, 4, 4), (9, 1, 9)])
def test_the_usual_batch_can_be_shared_by_all_processes(images: int, processes: int, batch: int) -> None:
    assert usual_batch(Wishes(((96, 96),), processes=processes), images) == batch
    assert usual_batch(Wishes(((96, 96),), processes=processes, batch_size=7), images) == 7
