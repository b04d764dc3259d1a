from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dataloader.sources.digits import open_digits, write_digits
from utils.errors import UserError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return open_digits(tmp_path_factory.mktemp("home"))


def test_all_digits_are_written_once(digits):
    files = sorted(digits.rglob("*.png"))
    assert len(files) == 1797
    assert len({file.name for file in files}) == 1797
    assert {path.name for path in digits.parent.iterdir()} == {"digits"}


def test_split_is_fixed_and_stratified(digits):
    counts = {split: Counter(file.parent.name for file in (digits / split).rglob("*.png")) for split in ("train", "val", "test")}
    assert {split: sum(count.values()) for split, count in counts.items()} == {"train": 1259, "val": 179, "test": 359}
    assert all(set(count) == set("0123456789") for count in counts.values())
    assert all(17 <= number <= 19 for number in counts["val"].values())
    # The files of a published split: accuracies are compared over versions.
    assert sorted(path.name for path in (digits / "val" / "0").iterdir())[:4] == ["0048.png", "0130.png", "0256.png", "0276.png"]


def test_pixels_are_those_of_the_source_in_full_range(digits):
    from sklearn.datasets import load_digits

    source = load_digits()
    for file in list(digits.rglob("*.png"))[:50]:
        index = int(file.stem)
        with Image.open(file) as image:
            pixels = np.asarray(image)
        assert source.target[index] == int(file.parent.name)
        assert np.array_equal(np.round(pixels / 255 * 16), source.images[index])
        assert pixels.max() > 200


def test_second_call_writes_nothing(digits, monkeypatch):
    monkeypatch.setattr("dataloader.sources.digits._write", None)
    before = digits.stat().st_mtime_ns, (digits / "train" / "0").stat().st_mtime_ns
    (digits / "train" / "mark").touch()
    write_digits(digits)
    assert (digits / "train" / "mark").exists()
    assert before == (digits.stat().st_mtime_ns, (digits / "train" / "0").stat().st_mtime_ns)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(UserError, match="No space left"):
        write_digits(tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []
