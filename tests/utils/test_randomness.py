import itertools

import numpy as np
import pytest
import torch

from utils.randomness import Stream, derive_seed, numpy_rng, shuffled, torch_generator

SEEDS = [0, 5692743531577857403, 7709673990355504713]
ORDER = [2, 6, 5, 1, 0, 7, 3, 4]


def test_seed_is_a_63_bit_number_for_any_position():
    for position in [(), (0,), (-1,), (2**70, 3), (1, 2, 3, 4)]:
        assert 0 <= derive_seed(*position) < 2**63


def test_seed_is_the_same_for_ever():
    # Runs are resumed with later versions: these numbers must never change.
    assert [derive_seed(), derive_seed(0), derive_seed(1, 2, 3)] == SEEDS
    assert shuffled(8, 1, 2).tolist() == ORDER


def test_every_order_and_count_of_the_numbers_has_its_own_seed():
    positions = [*itertools.permutations(range(4)), (0, 1, 2), (0, 1, 2, 3, 0), (0,), (0, 0), ()]
    assert len({derive_seed(*position) for position in positions}) == len(positions)


def test_seeds_of_neighbors_do_not_collide():
    assert len({derive_seed(0, epoch, index) for epoch in range(30) for index in range(1000)}) == 30_000


def test_seeds_of_neighbors_differ_in_half_of_their_bits():
    flipped = [bin(derive_seed(7, index) ^ derive_seed(7, index + 1)).count("1") for index in range(500)]
    assert 30 < np.mean(flipped) < 33


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_shuffled_is_a_permutation(count):
    assert sorted(shuffled(count, 5)) == list(range(count))


def test_shuffled_puts_every_number_everywhere():
    places = np.array([np.argsort(shuffled(5, position)) for position in range(2000)])
    for number in range(5):
        assert np.bincount(places[:, number], minlength=5).min() > 300


def test_generators_follow_from_the_position_alone():
    assert numpy_rng(1, 2).random() == numpy_rng(1, 2).random() != numpy_rng(2, 1).random()
    first, again, other = (torch.rand(3, generator=torch_generator(*position)) for position in [(1, 2), (1, 2), (2, 1)])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_streams_are_distinct():
    assert len({stream.value for stream in Stream}) == len(list(Stream))
