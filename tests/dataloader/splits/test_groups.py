import warnings
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from dataloader.opening.named_groups import read_groups
from dataloader.splits.groups import group_folds, hold_out_groups
from utils.errors import UserError

SHARES = {"val_share": 0.2, "test_share": 0.2}


def shots(groups=30, each=4):
    """Return path -> labels of several shots of every object, and path -> object."""
    labels, owners = {}, {}
    for group in range(groups):
        for shot in range(each + group % 3):
            path = f"{['cat', 'dog'][group % 2]}/{group:03d}_{shot}.jpg"
            labels[path], owners[path] = [["cat", "dog"][group % 2]], f"{group:03d}"
    return labels, owners


def test_no_group_is_in_two_splits_and_the_shares_hold():
    labels, owners = shots()
    places = hold_out_groups(labels, owners, seed=1, **SHARES)
    assert list(places) == sorted(labels)
    for owner in set(owners.values()):
        assert len({split for path, split in places.items() if owners[path] == owner}) == 1
    for name in ("cat", "dog"):
        mine = [split for path, split in places.items() if labels[path] == [name]]
        assert mine.count("val") / len(mine) == pytest.approx(0.2, abs=0.02)
        assert mine.count("test") / len(mine) == pytest.approx(0.2, abs=0.02)


def test_the_split_follows_from_the_seed_and_not_from_the_order():
    labels, owners = shots()
    turned = dict(reversed(labels.items()))
    assert hold_out_groups(labels, owners, seed=1, **SHARES) == hold_out_groups(turned, owners, seed=1, **SHARES)
    assert hold_out_groups(labels, owners, seed=1, **SHARES) != hold_out_groups(labels, owners, seed=2, **SHARES)


def test_every_split_gets_a_group_where_there_are_few():
    labels, owners = shots(groups=6, each=100)
    assert set(hold_out_groups(labels, owners, seed=0, **SHARES).values()) == {"train", "val", "test"}
    with pytest.raises(UserError, match="2 groups of images are too few for train, val, test"):
        hold_out_groups(*shots(groups=2), seed=0, **SHARES)


def test_every_label_can_be_learned_however_few_groups_it_has():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        owners = {f"{number}.jpg": str(rng.integers(8)) for number in range(60)}
        labels = {path: [f"class {int(owner) % 3}"] for path, owner in owners.items()} | {"odd.jpg": ["class 9"]}
        places = hold_out_groups(labels, owners, seed=seed, val_share=0.4, test_share=0.4)
        assert {labels[path][0] for path, split in places.items() if split == "train"} == {names[0] for names in labels.values()}


def test_folds_keep_groups_whole_and_every_group_validates_once():
    labels, owners = shots(groups=31)
    numbers = group_folds(labels, owners, 5, seed=3)
    assert set(numbers.values()) == set(range(5))
    for owner in set(owners.values()):
        assert len({number for path, number in numbers.items() if owners[path] == owner}) == 1
    sizes = Counter((labels[path][0], number) for path, number in numbers.items())
    for name in ("cat", "dog"):
        counts = [sizes[name, number] for number in range(5)]
        assert max(counts) - min(counts) <= 3, "half a group"


def test_the_only_group_of_a_label_is_never_taken_from_training():
    labels, owners = shots()
    labels |= {f"yak/{shot}.jpg": ["yak"] for shot in range(9)}
    owners |= {f"yak/{shot}.jpg": "the yak" for shot in range(9)}
    numbers = group_folds(labels, owners, 3, seed=0)
    assert {number for path, number in numbers.items() if path.startswith("yak")} == {-1}
    assert -1 not in {number for path, number in numbers.items() if not path.startswith("yak")}


def test_an_image_without_a_group_is_a_group_of_its_own():
    labels, _ = shots()
    numbers = group_folds(labels, dict.fromkeys(labels, ""), 4, seed=0)
    for name in ("cat", "dog"):
        sizes = Counter(number for path, number in numbers.items() if labels[path] == [name])
        assert max(sizes.values()) - min(sizes.values()) <= 1


SETTINGS = [(2, 60, 20, 5, False), (6, 60, 8, 10, False), (10, 80, 12, 5, True), (100, 20, 5, 5, False), (1000, 8, 3, 4, False)]


@pytest.mark.parametrize(("classes", "images", "largest", "count", "mixed"), SETTINGS)
def test_folds_are_as_even_as_those_of_scikit_learn(classes, images, largest, count, mixed):
    ours, theirs = [], []
    for seed in range(6 if classes <= 10 else 1):
        labels, owners = random_groups(classes, images, largest, mixed=mixed, seed=seed)
        ours.append(unevenness(labels, group_folds(labels, owners, count, seed=seed), count))
        paths, names = list(labels), [name for (name,) in labels.values()]
        folder = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = list(folder.split(names, names, [owners[path] for path in paths]))
        theirs.append(unevenness(labels, {paths[index]: number for number, (_, held) in enumerate(parts) for index in held}, count))
    of_classes, of_sizes = np.mean(ours, 0) / np.maximum(np.mean(theirs, 0), 1e-9)
    assert of_classes <= 1.1
    assert of_sizes <= 1


def random_groups(classes, images, largest, *, mixed, seed):
    """Return path -> labels and path -> group, of groups of up to `largest` images; mixed ones hold several classes."""
    rng = np.random.default_rng(seed)
    labels, owners = {}, {}
    for number in range(classes):
        group = 0
        for image in range(images):
            group += int(rng.random() < 2 / largest)
            path = f"{number}/{image}.jpg"
            labels[path] = [f"class {number}"]
            owners[path] = f"{(7 * group + number) % (classes * images // largest)}" if mixed else f"{number}-{group}"
    return labels, owners


def unevenness(labels, numbers, count):
    """Return how far the share of a class in a fold is from 1 / count, on average, and how far apart the folds are in size."""
    names = {name: number for number, name in enumerate(sorted({name for (name,) in labels.values()}))}
    held = np.zeros((count, len(names)))
    for path, fold in numbers.items():
        if fold >= 0:
            held[fold, names[labels[path][0]]] += 1
    sizes = held.sum(1)
    return np.abs(held / held.sum(0) - 1 / count).mean(), np.ptp(sizes) / sizes.mean()


def test_a_pattern_names_groups_by_its_bracket_or_by_all_it_matches():
    paths = ["cat/a1_0.jpg", "dog/b2_7.jpg"]
    assert read_groups(r"/(\w+)_\d", paths) == {"cat/a1_0.jpg": "a1", "dog/b2_7.jpg": "b2"}
    assert read_groups(r"^\w+", paths) == {"cat/a1_0.jpg": "cat", "dog/b2_7.jpg": "dog"}
    with pytest.raises(UserError, match=r"'a\\d' matches nothing in dog/b2_7\.jpg"):
        read_groups(r"a\d", paths)
    with pytest.raises(UserError, match="not a regular expression"):
        read_groups("(", paths)


BAD = {
    "path,group\n": r"line 1: the first line is image,group, not path,group",
    "image,group\na,1\na,2\n": r"line 3: a is listed twice",
    "image,group\na,1,2\n": r"line 2: 3 cells",
    "image,group\na,1\n": r"names no group for b and 1 more",
}


def test_a_list_names_groups_and_its_mistakes_are_one_line(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("\ufeffgroup,image\r\nx,a\r\n\r\ny,b\r\nx,c\r\nz,other\r\n")
    groups = read_groups(str(file), ["a", "b", "c"])
    assert [groups[path] for path in "abc"] == ["x", "y", "x"]
    for text, message in BAD.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_groups(str(file), ["a", "b", "c"])
