import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.loading.plan import ScorePlan, TrainPlan, epoch_order
from utils.errors import UserError

counts = st.integers(1, 60)
worlds = st.integers(1, 4)
parts = st.integers(1, 9)


def test_order_is_a_permutation_that_changes_with_epoch_and_seed():
    orders = [epoch_order(50, epoch, seed=seed, shuffle=True) for epoch, seed in [(0, 0), (1, 0), (0, 1)]]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert not any(np.array_equal(orders[a], orders[b]) for a, b in [(0, 1), (0, 2), (1, 2)])
    assert np.array_equal(orders[1], epoch_order(50, 1, seed=0, shuffle=True))


def test_order_without_shuffle_is_the_order_of_the_files():
    assert epoch_order(4, 3, seed=9, shuffle=False).tolist() == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(count=counts, world=worlds, part=parts)
def test_ranks_share_the_batches_of_one_process_equally(count, world, part):
    if count < world:
        return
    plans = [TrainPlan(count, part * world, seed=3, rank=rank, world=world) for rank in range(world)]
    walks = [list(plan.batches(epoch=2)) for plan in plans]
    order = epoch_order(count, 2, seed=3, shuffle=True)
    seen = []
    for number in range(len(plans[0])):
        slices = [walk[number] for walk in walks]
        assert {len(piece) for piece in slices} == {plans[0].size(number) // world}
        seen += np.concatenate(slices).tolist()
    assert seen == order[: len(seen)].tolist()
    assert len(seen) == plans[0].samples
    assert count - len(seen) < max(2 * world, world + 1)


@settings(max_examples=60, deadline=None)
@given(count=counts, world=worlds, part=parts)
def test_evaluation_takes_every_sample_exactly_once(count, world, part):
    seen = []
    for rank in range(world):
        plan = ScorePlan(count, part * world, rank=rank, world=world)
        batches = list(plan.batches(epoch=0))
        assert len(batches) == len(plan)
        assert all(0 < len(batch) <= part for batch in batches)
        seen += [int(index) for batch in batches for index in batch]
    assert sorted(seen) == list(range(count))


def test_last_batch_is_kept_down_to_two_samples_a_process():
    assert [TrainPlan(count, 4).samples for count in (8, 9, 10, 11)] == [8, 8, 10, 11]
    assert [TrainPlan(count, 4, world=2).samples for count in (8, 10, 11, 12)] == [8, 8, 8, 12]
    assert [TrainPlan(count, 8, world=2).samples for count in (8, 11, 12, 13)] == [8, 8, 12, 12]


def test_an_epoch_of_one_small_batch_is_kept():
    assert [(len(plan), plan.samples) for plan in (TrainPlan(1, 4), TrainPlan(3, 8, world=2))] == [(1, 1), (1, 2)]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_walk_can_start_at_any_batch(start):
    plan = TrainPlan(15, 4, seed=1)
    whole = [batch.tolist() for batch in plan.batches(5)]
    assert [batch.tolist() for batch in plan.batches(5, start)] == whole[start:]


def test_shares_of_every_accumulation_group_add_up_to_one():
    places = TrainPlan(22, 4).shares(4)
    assert [place.closes_group for place in places] == [False, False, False, True, False, True]
    assert [place.share for place in places] == [0.25] * 4 + [4 / 6, 2 / 6]


def test_without_accumulation_every_batch_closes_its_group():
    assert set(TrainPlan(10, 4).shares(1)) == {(1.0, True)}


def test_a_batch_that_cannot_be_shared_names_the_flag():
    with pytest.raises(UserError, match=r"-b 6 .* 4 processes"):
        TrainPlan(100, 6, world=4)


def test_wrong_numbers_are_user_errors():
    for make in (lambda: TrainPlan(1, 4, world=2), lambda: TrainPlan(9, 0), lambda: ScorePlan(9, 0), lambda: TrainPlan(9, 3).shares(0)):
        with pytest.raises(UserError):
            make()
