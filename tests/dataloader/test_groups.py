import pytest

from dataloader.groups import hold_out_groups, read_groups
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
    entries = hold_out_groups(labels, owners, seed=1, **SHARES)
    assert [entry.path for entry in entries] == sorted(labels)
    for owner in set(owners.values()):
        assert len({entry.split for entry in entries if owners[entry.path] == owner}) == 1
    for name in ("cat", "dog"):
        places = [entry.split for entry in entries if entry.label == name]
        assert places.count("val") / len(places) == pytest.approx(0.2, abs=0.06)
        assert places.count("test") / len(places) == pytest.approx(0.2, abs=0.06)


def test_the_split_follows_from_the_seed_and_not_from_the_order():
    labels, owners = shots()
    turned = dict(reversed(labels.items()))
    assert hold_out_groups(labels, owners, seed=1, **SHARES) == hold_out_groups(turned, owners, seed=1, **SHARES)
    assert hold_out_groups(labels, owners, seed=1, **SHARES) != hold_out_groups(labels, owners, seed=2, **SHARES)


def test_every_split_gets_a_group_where_there_are_few():
    labels, owners = shots(groups=3, each=100)
    assert {entry.split for entry in hold_out_groups(labels, owners, seed=0, **SHARES)} == {"train", "val", "test"}
    with pytest.raises(UserError, match="finds 2 groups, too few for train, val, test"):
        hold_out_groups(*shots(groups=2), seed=0, **SHARES)
    assert {entry.split for entry in hold_out_groups(*shots(groups=2), seed=0, val_share=0.2, test_share=0)} == {"train", "val"}


def test_a_pattern_names_groups_by_its_bracket_or_by_all_it_matches():
    paths = ["cat/a1_0.jpg", "dog/b2_7.jpg"]
    assert read_groups(r"/(\w+)_\d", paths) == {"cat/a1_0.jpg": "a1", "dog/b2_7.jpg": "b2"}
    assert read_groups(r"^\w+", paths) == {"cat/a1_0.jpg": "cat", "dog/b2_7.jpg": "dog"}
    with pytest.raises(UserError, match=r"'a\\d' matches nothing in dog/b2_7\.jpg"):
        read_groups(r"a\d", paths)
    with pytest.raises(UserError, match="no regular expression"):
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
