"""--channels: runs on brightness alone and on four channels, from the start to another run that begins from them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.applications.conftest import Call, tiny
from utils.checkpoint import load_checkpoint


@pytest.mark.slow
def test_a_gray_run_trains_is_measured_and_lends_its_weights_to_one_with_colors(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--channels", "1"))
    assert outcome.code == 0, outcome.err
    content = load_checkpoint(outcome.run / "best.pt")
    first = next(iter(content["state_dict"].values()))
    assert first.shape[1] == len(content["preprocess"]["mean"]) == 1
    arch = tiny(colors)[tiny(colors).index("--arch") + 1]
    measured = call("--evaluation", "--resume", outcome.run, "--arch", arch, "--no_report")
    assert measured.code == 0, measured.err
    assert "--channels cannot change on resume" in call("--resume", outcome.run, "--arch", arch, "--channels", "3", "--epochs", "3").err
    colored = call(*tiny(colors, "--init_from", outcome.run / "best.pt"))
    assert colored.code == 0, colored.err
    assert "first convolution fitted from 1 to 3 channels" in colored.out
    assert len(load_checkpoint(colored.run / "best.pt")["preprocess"]["mean"]) == 3


def write_four(folder: Path) -> Path:
    """Write images whose colors are noise: the class stands in the fourth channel alone."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 20, "val": 5, "test": 5}.items():
        for name, level in {"dark": 50, "light": 200}.items():
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (20, 24, 4), dtype=np.uint8)
                pixels[:, :, 3] = np.clip(rng.normal(level, 10, (20, 24)), 0, 255)
                Image.fromarray(pixels, "RGBA").save(place / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_run_on_four_channels_learns_what_the_fourth_alone_says(call: Call, colors: Path, tmp_path: Path) -> None:
    data, arch = write_four(tmp_path / "four"), tiny(colors)[tiny(colors).index("--arch") + 1]
    flags = ("--channels", "4", "--epochs", "4", "--aug", "flip|color", "--cache", "ram", "-j", "2", "--lr", "0.01")
    outcome = call(*tiny(data, *flags))
    assert outcome.code == 0, outcome.err
    content = load_checkpoint(outcome.run / "best.pt")
    assert next(iter(content["state_dict"].values())).shape[1] == len(content["preprocess"]["mean"]) == 4
    assert content["progress"]["best"][0] == pytest.approx(1.0)
    measured = call("--evaluation", "--resume", outcome.run, "--arch", arch)
    assert measured.code == 0, measured.err
    assert "top1 100.00%" in measured.out
    answered = call("--predict", data / "test", "--resume", outcome.run, "--arch", arch)
    assert answered.code == 0, answered.err
    refused = call(*tiny(colors, "--channels", "4"))
    assert refused.code == 2
    assert "no fourth channel" in refused.err
    colored = call(*tiny(colors, "--init_from", outcome.run / "best.pt"))
    assert "first convolution fitted from 4 to 3 channels" in colored.out, colored.err
