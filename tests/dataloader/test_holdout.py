from collections import Counter

import pytest

from dataloader.holdout import Entry, hold_out, read_split_file, write_split_file
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
    entries = sorted([Entry('a, "b"/ü ñ.png', 'a, "b"', "val"), Entry("c/1\n2.png", "c", "train"), Entry("d/\udcff.png", "d", "test")])
    write_split_file(entries, tmp_path / "split.csv")
    assert read_split_file(tmp_path / "split.csv") == entries
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no split file"),
        ("file,label\n", "no split file"),
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
