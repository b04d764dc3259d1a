import json

import numpy as np
import pytest

from dataloader.images.mean_std import mean_std, measure, read_mean_std, write_mean_std
from utils.errors import UserError


def test_figures_are_those_of_all_pixels_together(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, high, (height, 7, 3), dtype=np.uint8) for high, height in ((256, 5), (40, 30))]
    mean, std = mean_std(measure(image) for image in images)
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    assert mean == pytest.approx(pixels.mean(0).tolist())
    assert std == pytest.approx(pixels.std(0).tolist())
    write_mean_std(tmp_path / "x.json", mean, std, images=2)
    for read, true in zip(read_mean_std(tmp_path / "x.json"), (mean, std), strict=True):
        assert read == pytest.approx(true, abs=1e-6)


BAD = {
    "[1, 2]": "needs three numbers for 'mean'",
    '{"mean": [0.5, 0.5], "std": [1, 1, 1]}': "needs three numbers",
    '{"mean": [0.5, 0.5, 0.5], "std": [0.1, 0, 0.1]}': "each std above 0",
    '{"mean": [120, 110, 100], "std": [60, 60, 60]}': "divide those for 0..255 by 255",
    "{": "not valid JSON",
}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_makes_no_sense_is_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=BAD[text]) as caught:
        read_mean_std(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_mean_std(tmp_path / "gone.json")


def test_numbers_of_other_readers_may_stand_beside(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "note": "x"}))
    assert read_mean_std(tmp_path / "x.json") == ((0.1, 0.2, 0.3), (1, 1, 1))
