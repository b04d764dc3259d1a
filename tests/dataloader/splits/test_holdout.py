from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.splits.holdout import SplitLine, fold_numbers, hold_out, hold_out_labels, parse_fold, read_split_file, write_split_file
from utils.errors import UserError


def files(**counts):
    return {label: [f"{label}/{index:03d}.png" for index in range(count)] for label, count in counts.items()}


def count(entries):
    return Counter((entry.label, entry.split) for entry in entries)


def test_every_class_is_split_by_the_same_shares():
    counts = count(hold_out(files(cat=100, dog=20), seed=0, val_share=0.15, test_share=0.2))
    assert counts == {
        ("cat", "val"): 15, ("cat", "test"): 20, ("cat", "train"): 65,
        ("dog", "val"): 3, ("dog", "test"): 4, ("dog", "train"): 13,
    }  # fmt: skip


@pytest.mark.parametrize("number", range(3, 12))
def test_three_images_are_enough_for_every_split(number):
    counts = count(hold_out(files(cat=number), seed=0, val_share=0.01, test_share=0.9))
    assert min(counts["cat", "val"], counts["cat", "test"], counts["cat", "train"]) >= 1
    assert sum(counts.values()) == number


def test_smaller_classes_stay_in_train():
    assert count(hold_out(files(cat=2, dog=1), seed=0, val_share=0.3, test_share=0.3)) == {("cat", "train"): 2, ("dog", "train"): 1}


def test_a_share_of_zero_makes_no_split():
    assert {entry.split for entry in hold_out(files(cat=50), seed=0, val_share=0.2, test_share=0)} == {"train", "val"}


def test_split_follows_from_seed_and_paths_not_from_their_order():
    there = files(cat=30, dog=30)
    back = {label: there[label][::-1] for label in ("dog", "cat")}
    split = hold_out(there, seed=4, val_share=0.2, test_share=0.2)
    assert split == hold_out(back, seed=4, val_share=0.2, test_share=0.2)
    assert split != hold_out(there, seed=5, val_share=0.2, test_share=0.2)


def test_a_new_image_moves_few_others():
    before = {entry.path: entry.split for entry in hold_out(files(cat=200), seed=0, val_share=0.2, test_share=0.2)}
    after = hold_out(files(cat=201), seed=0, val_share=0.2, test_share=0.2)
    assert sum(before.get(entry.path, entry.split) != entry.split for entry in after) <= 2


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.5, 0.5), (0.2, 1.0)])
def test_impossible_shares_name_the_flags(shares):
    with pytest.raises(UserError, match="--val_share"):
        hold_out(files(cat=9), seed=0, val_share=shares[0], test_share=shares[1])


def test_split_file_survives_odd_names(tmp_path):
    entries = sorted(
        [SplitLine('a, "b"/ü ñ.png', 'a, "b"', "val"), SplitLine("c/1\n2.png", "c", "train"), SplitLine("d/\udcff.png", "d", "test")]
    )
    write_split_file(entries, tmp_path / "split.csv")
    assert read_split_file(tmp_path / "split.csv") == entries
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a split file"),
        ("file,label\n", "not a split file"),
        ("path,class,split\na/1.png,a\n", "line 2"),
        ("path,class,split\na/1.png,a,dev\n", "line 2"),
        ("path,class,split\na/1.png,a,val\na/1.png,a,train\n", "line 3: .* twice"),
    ],
)
def test_a_damaged_split_file_is_a_user_error(tmp_path, text, message):
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_split_file(tmp_path / "split.csv")


def test_a_missing_or_unwritable_split_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_split_file(tmp_path / "split.csv")
    with pytest.raises(UserError, match="cannot write"):
        write_split_file([], tmp_path / "no" / "split.csv")


def random_labels(count, rates, seed):
    draws = np.random.default_rng(seed).random((count, len(rates))) < rates
    return {f"{number:04d}.png": tuple(f"label{index}" for index in np.flatnonzero(row)) for number, row in enumerate(draws)}


@given(st.integers(1, 120), st.lists(st.floats(0.01, 0.6), min_size=1, max_size=8), st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=60, deadline=None)
def test_every_image_has_one_split_and_every_label_stays_in_train(count, rates, seed, test_share):
    labels = random_labels(count, rates, seed)
    entries = hold_out_labels(labels, seed=seed, val_share=0.2, test_share=test_share)
    assert [(path, names) for path, names, _ in entries] == sorted(labels.items())
    trained = {name for _, names, split in entries if split == "train" for name in names}
    assert trained == {name for names in labels.values() for name in names}
    assert test_share > 0 or all(split != "test" for _, _, split in entries)


def test_a_label_whose_images_all_went_elsewhere_comes_back_to_train():
    rows = ["d", "ad", "bcd", "c", "cde", "b", "ae", "ac", "be", "", "a", "ad"]
    labels = {f"{number}.png": tuple(row) for number, row in enumerate(rows)}
    entries = hold_out_labels(labels, seed=0, val_share=0.3, test_share=0.3)
    assert {name for _, names, split in entries if split == "train" for name in names} == set("abcde")


def test_every_label_keeps_its_shares_and_the_rarest_is_in_every_split():
    labels = random_labels(1000, [0.5, 0.2, 0.05, 0.01, 0.005], seed=1)
    entries = hold_out_labels(labels, seed=0, val_share=0.2, test_share=0.1)
    counts = Counter((name, split) for _, names, split in entries for name in names)
    for index in range(5):
        parts = [counts[f"label{index}", split] for split in ("train", "val", "test")]
        assert min(parts) >= 1
        assert parts == pytest.approx([sum(parts) * share for share in (0.7, 0.2, 0.1)], abs=1.5)


def test_labels_are_split_by_seed_and_paths_not_by_their_order():
    labels = random_labels(100, [0.5, 0.2], seed=2)
    split = hold_out_labels(labels, seed=0, val_share=0.2, test_share=0.2)
    assert split == hold_out_labels(dict(reversed(labels.items())), seed=0, val_share=0.2, test_share=0.2)
    assert split != hold_out_labels(labels, seed=1, val_share=0.2, test_share=0.2)


def test_impossible_shares_of_labels_name_the_flags():
    with pytest.raises(UserError, match="--val_share"):
        hold_out_labels({"a.png": ("x",)}, seed=0, val_share=0.6, test_share=0.6)


def labels_of(**counts: int) -> dict[str, str]:
    return {f"{label}/{number}.png": label for label, count in counts.items() for number in range(count)}


def test_folds_are_disjoint_and_stratified():
    labels = labels_of(cat=53, dog=12, fox=7)
    numbers = fold_numbers(labels, 5, seed=0)
    assert set(numbers) == set(labels)
    for label, total in (("cat", 53), ("dog", 12), ("fox", 7)):
        sizes = [sum(place == fold and path.startswith(label) for path, place in numbers.items()) for fold in range(5)]
        assert sum(sizes) == total
        assert max(sizes) - min(sizes) <= 1
    sizes = [list(numbers.values()).count(fold) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1


def test_folds_follow_from_the_seed_and_the_paths_alone():
    labels = labels_of(cat=20, dog=20)
    backwards = dict(reversed(labels.items()))
    assert fold_numbers(labels, 4, seed=3) == fold_numbers(backwards, 4, seed=3)
    assert fold_numbers(labels, 4, seed=3) != fold_numbers(labels, 4, seed=4)


def test_the_only_image_of_a_class_is_always_trained_on():
    assert fold_numbers(labels_of(cat=9, yak=1), 3, seed=0)["yak/0.png"] == -1


@pytest.mark.parametrize("text", ["5/5", "0/1", "1", "-1/5", "a/b", "0/5/2"])
def test_a_fold_that_is_none_shows_the_form(text):
    with pytest.raises(UserError, match="write I/K"):
        parse_fold(text)
    assert parse_fold("4/5") == (4, 5)
