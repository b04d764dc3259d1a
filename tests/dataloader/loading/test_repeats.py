"""Claims about repeated augmentation: copies of an image in one batch, on different processes, by position alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.loading.plan import TrainPlan
from utils.errors import UserError


def batches(plan: TrainPlan, epoch: int, start: int = 0) -> list[tuple[list[int], list[int]]]:
    return [(indices.tolist(), turns.tolist()) for indices, turns in plan.keys(epoch, start)]


def test_copies_stand_in_one_batch_and_are_told_apart():
    plan = TrainPlan(24, 6, seed=1, repeats=3)
    assert plan.samples == 24, "an epoch keeps its size"
    for indices, turns in batches(plan, 0):
        assert len(set(indices)) == 2
        assert turns == [0, 1, 2, 0, 1, 2], "each copy is augmented in another way"


def test_the_epochs_together_see_every_image_equally_often():
    plan = TrainPlan(20, 4, seed=1, epoch_size=20, repeats=2)
    seen = np.concatenate([plan.order(epoch) for epoch in range(6)])
    assert np.bincount(seen).tolist() == [6] * 20
    assert not set(plan.order(0)) & set(plan.order(1)), "the second epoch has the images that the first left out"


def test_copies_go_to_different_processes_as_with_the_sampler_of_timm():
    from timm.data.distributed_sampler import RepeatAugSampler

    ours = [TrainPlan(24, 6, seed=1, rank=rank, world=3, repeats=3) for rank in range(3)]
    for parts in zip(*(batches(plan, 0) for plan in ours), strict=True):
        assert parts[0][0] == parts[1][0] == parts[2][0], "every process has a copy of each image"
        assert [turns for _, turns in parts] == [[0, 0], [1, 1], [2, 2]]
    theirs = [RepeatAugSampler(range(24), num_replicas=3, rank=rank, shuffle=False, num_repeats=3, selected_round=0) for rank in range(3)]
    rows = [list(sampler) for sampler in theirs]
    assert rows[0] == rows[1] == rows[2], "so has theirs"
    assert len(rows[0]) * 3 == sum(len(part) for part, _ in batches(ours[0], 0)) * 3 == 24


@settings(max_examples=40, deadline=None)
@given(count=st.integers(4, 40), repeats=st.integers(1, 5), part=st.integers(1, 4), world=st.integers(1, 3), epoch=st.integers(0, 3))
def test_processes_and_resumes_see_what_one_unbroken_process_sees(count, repeats, part, world, epoch):
    size = part * world
    whole = batches(TrainPlan(count, size, seed=3, repeats=repeats), epoch)
    ranks = [batches(TrainPlan(count, size, seed=3, rank=rank, world=world, repeats=repeats), epoch, 1) for rank in range(world)]
    for number, parts in enumerate(zip(*ranks, strict=True), start=1):
        together = sorted(pair for indices, turns in parts for pair in zip(indices, turns, strict=True))
        alone = list(zip(*whole[number], strict=True))
        assert together == sorted(alone[: len(together)])


def test_a_sampler_decides_which_images_are_repeated():
    draws = np.array([0.0, 1.0, 3.0, 4.0])
    plan = TrainPlan(4, 4, seed=0, draws=draws, repeats=2)
    counts = sum(np.bincount(plan.order(epoch), minlength=4) for epoch in range(400)) / 400
    np.testing.assert_allclose(counts, draws, atol=0.15)
    assert all((plan.order(epoch)[::2] == plan.order(epoch)[1::2]).all() for epoch in range(5))


def test_a_number_below_one_is_named():
    with pytest.raises(UserError, match="--aug_repeats 0"):
        TrainPlan(10, 2, repeats=0)
