import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dataloader.splits.content_hash import NOTHING, PIECE, PIECES, content_hashes, count_known
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


@pytest.mark.parametrize(("suffix", "width", "height", "count"), [("bmp", 160, 128, 40), ("tif", 160, 128, 40), ("bmp", 1600, 1280, 8)])
def test_other_pictures_of_an_object_on_white_have_another_hash_without_compression_too(tmp_path, suffix, width, height, count):
    rng = np.random.default_rng(0)
    names = [f"{number}.{suffix}" for number in range(count)]
    for name in names:
        pixels = np.full((height, width, 3), 255, np.uint8)
        # An eighth of the width, in the middle of a third of the height: between the pieces that a few would be.
        side, left, top = width // 8, rng.integers(width // 8, 3 * width // 4), rng.integers(height * 3 // 8, height * 4 // 8)
        pixels[top : top + side, left : left + side] = rng.integers(0, 256, (side, side, 3))
        Image.fromarray(pixels).save(tmp_path / name)
    hashes = content_hashes(split_of(tmp_path, names))
    assert len(set(hashes.tolist())) == count


def test_every_byte_counts_in_a_file_of_usual_size(tmp_path):
    data = np.random.default_rng(0).bytes(PIECE * PIECES)
    for number in range(16):
        place = number * len(data) // 16 + 5003 * number
        (tmp_path / f"{number}").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert len(set(content_hashes(split_of(tmp_path, [f"{number}" for number in range(16)])).tolist())) == 16


def test_equal_files_have_one_hash_whatever_their_names_and_others_have_another(tmp_path):
    rng = np.random.default_rng(0)
    small, large = rng.bytes(500), rng.bytes(3 * PIECE * PIECES + 77)
    contents = {"a": small, "b": small, "c": small[:-1], "d": large, "e": large, "f": large + b"x", "g": b""}
    # A difference in any of the pieces.
    for number, place in enumerate((0, (len(large) - PIECE) // (PIECES - 1) + 9, len(large) - PIECE, len(large) - 1)):
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
    monkeypatch.setattr("dataloader.splits.content_hash.SLOW", 0)
    assert content_hashes(split_of(tmp_path, names)).tolist() == quick.tolist()
    assert len(set(quick.tolist())) == 150
