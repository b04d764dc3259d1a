"""Claims about gradient harmonizing, against the paper in numpy."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from criterions.elementwise import softmax_hardness
from criterions.weighted import build_criterion
from criterions.weighters.ghm import GradientHarmony, bin_numbers
from tests.criterions.conftest import seeds, shapes
from utils.errors import UserError
from utils.spec import parse_specs


def weigh(weighter: GradientHarmony, g: np.ndarray) -> np.ndarray:
    """The factors of problems whose gradients have the sizes `g`."""
    empty = torch.empty(0, dtype=torch.float64)
    return weighter(empty, empty, hardness=torch.from_numpy(g)).numpy()


def harmony_in_numpy(batches: list[np.ndarray], bins: int, momentum: float) -> np.ndarray:
    """The weights of the last batch: in inverse proportion to the moving counts, whose start at zero is corrected, with mean 1."""
    a = np.zeros(bins)
    for steps, g in enumerate(batches, start=1):
        place = np.minimum((g * bins).astype(int), bins - 1)
        n = np.array([(place == i).sum() for i in range(bins)])
        a = momentum * a + (1 - momentum) * n
        corrected = a / (1 - momentum**steps)
    weights = np.array([1 / corrected[i] for i in place.ravel()]).reshape(g.shape)
    return weights / weights.mean()


@settings(max_examples=40, deadline=None)
@given(shapes, seeds, st.integers(1, 40), st.floats(0, 0.95), st.integers(1, 4))
def test_ghm_weighs_by_the_inverse_of_the_moving_counts(shape, seed, bins, momentum, steps):
    rng = np.random.default_rng(seed)
    batches = [rng.beta(0.4, 1.5, shape) for _ in range(steps)]
    weighter = GradientHarmony(bins, momentum)
    found = [weigh(weighter, g) for g in batches][-1]
    np.testing.assert_allclose(found, harmony_in_numpy(batches, bins, momentum), rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(shapes, seeds, st.integers(1, 40), st.floats(0, 0.95))
def test_the_first_step_is_the_formula_of_the_paper(shape, seed, bins, momentum):
    g = np.random.default_rng(seed).beta(0.4, 1.5, shape)
    place = np.minimum((g * bins).astype(int), bins - 1)
    n = np.bincount(place.ravel(), minlength=bins)
    np.testing.assert_allclose(weigh(GradientHarmony(bins, momentum), g), g.size / (n[place] * (n > 0).sum()), rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 6, 10, 100, 1000])
def test_softmax_poses_one_problem_a_sample_so_that_the_loss_keeps_its_scale(classes):
    generator = torch.Generator().manual_seed(0)
    criterion = build_criterion(parse_specs("softmax|ghm"))
    for step in range(5):
        logits = torch.randn(64, classes, generator=generator)
        targets = F.one_hot(torch.randint(classes, (64,), generator=generator), classes).float()
        logits += step * targets * torch.rand(64, 1, generator=generator)
        p = logits.softmax(1)
        factors = criterion.weighters["ghm"](p, targets, hardness=softmax_hardness(p, targets))
        assert factors.shape == (64, 1), "one factor a sample"
        assert float(factors.mean()) == pytest.approx(1, rel=1e-5)


def test_what_weighs_nothing_is_not_counted():
    weighter, alone = GradientHarmony(4), GradientHarmony(4)
    g = np.array([0.1, 0.1, 0.9])
    with_idle = weigh(weighter, np.array([0.1, -1.0, 0.1, -1.0, 0.9]))
    np.testing.assert_array_equal(with_idle[[0, 2, 4]], weigh(alone, g))
    assert torch.equal(weighter.bin_counts, alone.bin_counts)


def test_every_bin_has_the_same_weight_in_all():
    g = np.array([0.01] * 90 + [0.5] * 9 + [0.99])
    weights = weigh(GradientHarmony(10, 0.0), g)
    np.testing.assert_allclose([weights[:90].sum(), weights[90:99].sum(), weights[99:].sum()], 100 / 3, rtol=1e-5)


def test_the_ends_belong_to_the_first_and_the_last_bin():
    g = torch.tensor([0.0, 0.0999, 0.1, 0.9999, 1.0])
    assert bin_numbers(g, 10).tolist() == [0, 0, 1, 9, 9]
    assert bin_numbers(torch.tensor([float("nan")]), 10).item() in range(10)


def test_counts_move_in_training_and_rest_in_evaluation():
    weighter = GradientHarmony(4, 0.5)
    g = np.array([0.1, 0.1, 0.9])
    weigh(weighter, g)
    assert (weighter.bin_counts.tolist(), weighter.counted.item()) == ([1.0, 0.0, 0.0, 0.5], 0.5)
    weighter.eval()
    frozen = weigh(weighter, g)
    np.testing.assert_allclose(frozen, [0.75, 0.75, 1.5])
    assert (weighter.bin_counts.tolist(), weighter.counted.item()) == ([1.0, 0.0, 0.0, 0.5], 0.5)
    weighter.train()
    weigh(weighter, g)
    assert (weighter.bin_counts.tolist(), weighter.counted.item()) == ([1.5, 0.0, 0.0, 0.75], 0.75)


def test_a_bin_that_training_never_met_has_a_finite_weight_in_evaluation():
    weighter = GradientHarmony(4).eval()
    assert np.isfinite(weigh(weighter, np.array([0.1, 0.9]))).all()


def test_counts_travel_in_the_state():
    first, second = GradientHarmony(), GradientHarmony()
    g = np.random.default_rng(0).random((8, 5))
    weigh(first, g)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(weigh(first, g), weigh(second, g))


@pytest.mark.parametrize("values", [{"bins": 0}, {"bins": 2.5}, {"momentum": 1.0}, {"momentum": -0.1}, {"momentum": float("nan")}])
def test_values_out_of_range_are_named(values):
    with pytest.raises(UserError, match=next(iter(values))):
        GradientHarmony(**values)


def half_of_a_batch(rank: int, folder: str, g: np.ndarray) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    weighter = GradientHarmony(10)
    for step in range(3):
        weights = weigh(weighter, g[step, rank::2])
    np.savez(f"{folder}/{rank}.npz", weights=weights, counts=weighter.bin_counts.numpy())
    dist.destroy_process_group()


def test_counts_are_those_of_all_processes(monkeypatch):
    mine, theirs = np.array([0.1, 0.1, 0.6]), np.array([0.1, 0.9])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda counts: counts.add_(torch.tensor([1, 1])))
    alone = GradientHarmony(2)
    shared = weigh(alone, mine)
    monkeypatch.undo()
    np.testing.assert_array_equal(shared, weigh(GradientHarmony(2), np.concatenate([mine, theirs]))[:3])
    assert alone.bin_counts.tolist() == [0.75, 0.5]


@pytest.mark.slow
def test_two_processes_weigh_as_one_does(tmp_path):
    g = np.random.default_rng(3).beta(0.4, 1.5, (3, 8, 5))
    alone = GradientHarmony(10)
    for step in range(3):
        expected = weigh(alone, g[step])
    mp.start_processes(half_of_a_batch, args=(str(tmp_path), g), nprocs=2, start_method="spawn")
    for rank in range(2):
        found = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_array_equal(found["counts"], alone.bin_counts.numpy())
        np.testing.assert_allclose(found["weights"], expected[rank::2], rtol=1e-6)


def test_a_bin_that_training_never_met_weighs_as_if_it_had_been_met_once():
    weighter = GradientHarmony(4, 0.75)
    weigh(weighter, np.array([0.1, 0.1]))
    weighter.eval()
    # The first holds 2, the last counts as 1: weights as 1 to 2, of mean 1.
    np.testing.assert_allclose(weigh(weighter, np.array([0.1, 0.9])), [2 / 3, 4 / 3], rtol=1e-6)


def test_the_second_look_of_several_processes_counts_all_of_them_too(monkeypatch):
    mine, theirs = np.array([0.1, 0.1, 0.6]), np.array([0.1, 0.9])
    whole = GradientHarmony(2)
    weigh(whole, np.concatenate([mine, theirs]))
    part = GradientHarmony(2)
    part.load_state_dict(whole.state_dict())
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda counts: counts.add_(torch.tensor([1, 1])))
    empty = torch.empty(0, dtype=torch.float64)
    found = part.unrecorded(empty, empty, hardness=torch.from_numpy(mine)).numpy()
    monkeypatch.undo()
    np.testing.assert_array_equal(found, weigh(whole.eval(), np.concatenate([mine, theirs]))[:3])
