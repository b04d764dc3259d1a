import os
from dataclasses import replace

import numpy as np

from dataloader.splits.contents import NOTHING, PIECE, PIECES, content_hashes, count_known
from dataloader.splits.split import Split


def split_of(root, names):
    return Split("train", root, tuple(names), np.zeros(len(names), np.int64))


class Bytes:
    """Images that are no files: what `read_bytes` gives is in a dictionary."""

    def __init__(self, content):
        self.content = content

    def read_bytes(self, file):
        return self.content[os.path.basename(file)]

    def stamp(self, file):
        raise NotImplementedError


def test_equal_files_have_one_hash_whatever_their_names_and_others_have_another(tmp_path):
    rng = np.random.default_rng(0)
    small, large = rng.bytes(500), rng.bytes(3 * PIECE * PIECES + 77)
    contents = {"a": small, "b": small, "c": small[:-1], "d": large, "e": large, "f": large + b"x", "g": b""}
    # A difference in any of the pieces.
    for number, place in enumerate((0, (len(large) - PIECE) // 3 + 9, 2 * (len(large) - PIECE) // 3 + 9, len(large) - 1)):
        contents[f"other{number}"] = large[:place] + bytes([large[place] ^ 1]) + large[place + 1 :]
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    split = split_of(tmp_path, contents)
    hashes = content_hashes(split)
    assert (hashes != NOTHING).all()
    for one, first in enumerate(contents.values()):
        for two, second in enumerate(contents.values()):
            assert (hashes[one] == hashes[two]) == (first == second)
    assert content_hashes(replace(split, store=Bytes(contents))).tolist() == hashes.tolist()
    assert content_hashes(split, [3, 0]).tolist() == hashes[[3, 0]].tolist()


def test_what_cannot_be_read_is_known_to_nobody(tmp_path):
    (tmp_path / "there").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    hashes = content_hashes(split_of(tmp_path, ["there", "gone", "pipe"]))
    assert (hashes == NOTHING).tolist() == [False, True, True]
    assert count_known(hashes, hashes) == 1


def test_many_slow_files_are_read_by_several_threads_in_their_order(tmp_path, monkeypatch):
    names = [f"{number}" for number in range(150)]
    for name in names:
        (tmp_path / name).write_text(name)
    quick = content_hashes(split_of(tmp_path, names))
    monkeypatch.setattr("dataloader.splits.contents.SLOW", 0)
    assert content_hashes(split_of(tmp_path, names)).tolist() == quick.tolist()
    assert len(set(quick.tolist())) == 150
