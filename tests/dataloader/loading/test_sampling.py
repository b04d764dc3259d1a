from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader import SAMPLERS
from dataloader.loading.plan import TrainPlan, drawn_order, endless_order, turns
from dataloader.loading.sampling import expected_draws
from dataloader.splits.split import Split
from utils.errors import UserError

TARGETS = np.array([0] * 90 + [1] * 9 + [2], dtype=np.int64)


def split(targets: np.ndarray = TARGETS) -> Split:
    return Split("train", Path("photos"), tuple(f"{number}.png" for number in range(len(targets))), targets)


def example(name: str, folder: Path) -> str:
    """Return a spec of every sampler."""
    if name != "file":
        return name
    path = folder / "weights.csv"
    path.write_text("path,weight\n" + "".join(f"{number}.png,{number % 4}\n" for number in range(100)))
    return f"file('{path}')"


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_says_how_often_each_image_is_drawn(name, tmp_path):
    draws = expected_draws(example(name, tmp_path), split())
    assert (draws.shape, draws.dtype) == ((100,), np.float64)
    assert draws.min() >= 0
    assert draws.sum() >= 100 - 1e-6
    several = replace(split(), targets=np.eye(3, dtype=np.float32)[TARGETS])
    np.testing.assert_allclose(expected_draws(example(name, tmp_path), several), draws)


def test_balanced_draws_every_class_equally_often():
    draws = expected_draws("balanced", split())
    np.testing.assert_allclose(np.bincount(TARGETS, draws), [100 / 3] * 3)


def test_repeat_factors_are_those_of_the_paper():
    draws = expected_draws("repeat(0.36)", split())
    np.testing.assert_allclose(draws[[0, 90, 99]], [1, np.sqrt(0.36 / 0.09), np.sqrt(0.36 / 0.01)])
    labels = np.zeros((100, 3), dtype=np.float32)
    labels[:, 0] = 1
    labels[:4, 1] = 1
    assert expected_draws("repeat(0.16)", replace(split(), targets=labels))[:5].tolist() == pytest.approx([2, 2, 2, 2, 1])


def test_an_image_without_labels_counts_as_common():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    draws = expected_draws("balanced", split(labels))
    assert draws[3] == draws[0] == draws[2] / 2


def test_a_function_of_the_users_own_decides(tmp_path):
    (tmp_path / "own_sampler.py").write_text("def odd(split, factor=2):\n    return [index % 2 * factor for index in range(len(split))]\n")
    assert expected_draws(f"{tmp_path}/own_sampler.py:odd(factor=3)", split()).tolist() == [0.0, 3.0] * 50
    (tmp_path / "short_sampler.py").write_text("def short(split):\n    return [1.0]\n")
    with pytest.raises(UserError, match="expected 100 numbers"):
        expected_draws(f"{tmp_path}/short_sampler.py:short", split())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("balance", "Did you mean balanced"),
        ("repeat(2)", "threshold is 2"),
        ("repeat(treshold=0.1)", "Did you mean threshold"),
        ("balanced(3)", "balanced takes no arguments"),
        ("balanced|repeat", "one sampler at a time"),
        ("file(nowhere.csv)", "cannot read nowhere.csv"),
        ("file", "missing a required argument: 'path'"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(UserError, match=message):
        expected_draws(spec, split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png,1\n", "no weight for 99 training images, such as 1.png"),
        ("0.png,1\n0.png,2\n", "line 2: 0.png is listed twice"),
        ("0.png,-1\n", "line 1: the weight -1"),
        ("0.png,nan\n", "line 1: the weight nan"),
        ("0.png\n", "line 1: write path,weight"),
        ("path,weight\n0.png,many\n", "line 2: write path,weight"),
        ("".join(f"{number}.png,0\n" for number in range(100)), "all training images the weight 0"),
    ],
)
def test_mistakes_in_a_file_name_the_line(tmp_path, text, message):
    (tmp_path / "weights.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        expected_draws(f"file('{tmp_path}/weights.csv')", split())


@settings(max_examples=60, deadline=None)
@given(draws=st.lists(st.floats(0, 8), min_size=1, max_size=40).filter(lambda found: sum(found) > 0.1), length=st.integers(1, 120))
def test_every_image_is_drawn_its_expected_times_rounded_down_or_up(draws, length):
    array = np.array(draws)
    order = drawn_order(array, 3, seed=1, length=length)
    assert len(order) == length
    expected = array / array.sum() * length
    counts = np.bincount(order, minlength=len(array))
    assert (counts >= np.floor(expected - 1e-6)).all()
    assert (counts <= np.ceil(expected + 1e-6)).all()


def test_draws_of_one_image_do_not_stand_together_and_the_order_is_mixed():
    repeated = drawn_order(np.full(20, 5.0), 0, seed=0, length=100)
    assert (repeated[1:] == repeated[:-1]).mean() < 0.2, "0.04 by chance; 0.8 where points on the line are taken in their order"
    once = drawn_order(np.ones(50), 0, seed=0, length=50)
    assert sorted(once) == list(range(50))
    assert once.tolist() != sorted(once)
    assert not np.array_equal(once, drawn_order(np.ones(50), 1, seed=0, length=50))


def test_over_many_epochs_images_are_drawn_as_often_as_expected():
    draws = np.array([0.3, 1.7, 0.0, 2.5])
    counts = sum(np.bincount(drawn_order(draws, epoch, seed=0, length=4), minlength=4) for epoch in range(2000)) / 2000
    np.testing.assert_allclose(counts, draws / draws.sum() * 4, atol=0.05)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 30), length=st.integers(1, 70))
def test_epochs_of_any_size_join_to_a_row_of_permutations(count, length):
    row = np.concatenate([endless_order(count, epoch, seed=2, length=length) for epoch in range(2 * count)])
    for start in range(0, len(row) - count + 1, count):
        assert sorted(row[start : start + count]) == list(range(count))


def test_turns_count_what_was_drawn_before():
    assert turns(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    "options", [{"draws": np.array([0.5, 3.0, 1.0, 0.5, 2.0])}, {"epoch_size": 8}, {"draws": np.ones(5), "epoch_size": 12}]
)
@pytest.mark.parametrize("start", [0, 1, 2])
def test_processes_and_resumes_see_what_one_unbroken_process_sees(options, start):
    whole = list(TrainPlan(5, 4, seed=1, **options).batches(2))
    ranks = [list(TrainPlan(5, 4, seed=1, rank=rank, world=2, **options).batches(2, start)) for rank in (0, 1)]
    joined = [np.concatenate(parts).tolist() for parts in zip(*ranks, strict=True)]
    assert joined == [batch.tolist()[: len(joined[number])] for number, batch in enumerate(whole[start : start + len(joined)])]
    assert len(TrainPlan(5, 4, seed=1, **options)) == len(whole)


def test_an_epoch_has_the_size_that_was_asked_for():
    assert TrainPlan(100, 8, epoch_size=24).samples == 24
    assert TrainPlan(100, 8, epoch_size=250).samples == 250
    assert TrainPlan(3, 8, draws=np.array([4.0, 8.0, 4.0])).samples == 16
    with pytest.raises(UserError, match="--epoch_size 0"):
        TrainPlan(100, 8, epoch_size=0)
