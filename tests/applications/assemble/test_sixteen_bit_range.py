"""16-bit images of a camera of 12 bits: one range in training, evaluation, prediction, caches, --prepare and the exported file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from applications.trained.checkpoint import load_trained, open_held_out, open_training, open_validation
from dataloader.images.read import read_image
from demos.classifier import main as classify
from tests.applications.conftest import NETS, Call, read_rows, tiny
from utils.checkpoint import load_checkpoint, save_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")
NAMES = ("dark", "light", "middle")


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """Write three classes of brightness in 12 bits: gray PNG, color TIFF, color PNG by turns."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 4), ("test", 4)):
        for level, name in zip((600, 3000, 1800), NAMES, strict=True):
            place = tmp_path / "camera" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(level, 500, (18, 20, 3)), 0, 4095).astype(np.uint16)
                kind = number % 3
                file = place / f"{number}.{'tif' if kind == 1 else 'png'}"
                cv2.imwrite(str(file), pixels[:, :, 0] if kind == 0 else pixels)
    return tmp_path / "camera"


def values_of(file: Path) -> np.ndarray:
    """Return the values of 16 bits in a file, by OpenCV."""
    values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert values is not None
    return values


def figures(run: Path) -> list[tuple[str, str]]:
    return [(row["val_loss"], row["train_loss"]) for row in read_rows(run / "metrics.csv")]


def test_training_scales_by_the_range_of_the_data_set_and_says_it_once(call: Call, camera: Path, tmp_path: Path) -> None:
    outcome = call(*tiny(camera))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("taken as 12 bits, 4,095 is white") == 1
    content = load_checkpoint(outcome.run / "best.pt")
    assert content["preprocess"]["white"] == 4095
    # Caches hold the same pixels.
    for cache in (("ram",), ("disk", "--cache_dir", tmp_path / "kept")):
        cached = call(*tiny(camera, "--cache", *cache))
        assert figures(cached.run) == figures(outcome.run)
    # As does a copy in 8 bits, scaled by NumPy.
    for file in sorted(camera.rglob("*.*")):
        values = values_of(file)
        copy = tmp_path / "eight" / file.relative_to(camera).with_suffix(".png")
        copy.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(copy), np.rint(values * (255 / 4095)).astype(np.uint8))
    eight = call(*tiny(tmp_path / "eight"))
    assert "bits" not in eight.out
    assert figures(eight.run) == figures(outcome.run)


def test_every_use_of_the_model_sees_the_range_of_its_training(call: Call, camera: Path, capsys) -> None:
    run = call(*tiny(camera, "--epochs", 4)).run
    # Of these images alone the range would be another one.
    for file in (camera / "test").rglob("*.*"):
        cv2.imwrite(str(file), np.minimum(values_of(file), 1000).astype(np.uint16))
    assert call("--evaluation", "--no_report", "--resume", run, *ARCH).code == 0
    rows = {
        Path(row["path"]).relative_to(camera / "test").as_posix(): row for row in read_rows(run / "evaluation-test" / "predictions.csv")
    }
    truth = {place: np.array([float(row[name]) for name in NAMES]) for place, row in rows.items()}
    assert len(truth) == 12

    assert call("--predict", camera / "test", "--resume", run, *ARCH).code == 0
    content = json.loads((run / "predict" / "predictions.json").read_text())
    for image in content["images"]:
        said = {each["label"]: each["probability"] for each in image["top"]}
        found = truth[Path(image["path"]).relative_to(camera / "test").as_posix()]
        assert all(abs(said[name] - found[place]) < 1e-4 for place, name in enumerate(NAMES) if name in said)

    converted = call("--jit", "--resume", run, *ARCH)
    assert converted.code == 0, converted.err
    (model,) = run.rglob("*.jit.pt")
    capsys.readouterr()
    assert classify([str(model), str(camera / "test"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 12
    for line in lines:
        said = {each["label"]: each["probability"] for each in line["top"]}
        found = truth[Path(line["path"]).relative_to(camera / "test").as_posix()]
        assert all(abs(said[name] - found[place]) < 1e-4 for place, name in enumerate(NAMES))


def test_every_split_of_a_trained_model_is_read_by_its_range(call: Call, camera: Path) -> None:
    run = call(*tiny(camera, "--epochs", 1)).run
    trained = load_trained(run, {"arch": ARCH[1]}, "prune", torch.device("cpu"))
    opened = (open_training(trained, "--prune"), open_validation(trained, "--calibrate"), open_held_out(trained, ("test",)))
    assert [split.white for split in opened] == [trained.preprocess.white] * 3
    assert trained.preprocess.white == 4095


def test_a_checkpoint_without_a_range_keeps_its_meaning(call: Call, camera: Path) -> None:
    run = call(*tiny(camera)).run
    for name in ("best.pt", "last.pt"):
        content = load_checkpoint(run / name)
        del content["preprocess"]["white"]
        save_checkpoint(run / name, {key: value for key, value in content.items() if key != "format"})
    outcome = call("--evaluation", "--no_report", "--resume", run, *ARCH)
    assert "65,535 is white for this model: they look nearly black" in outcome.out
    resumed = call("--resume", run, *ARCH, "--epochs", 3)
    assert resumed.code == 0, resumed.err
    assert "is white" not in resumed.out
    assert load_checkpoint(run / "last.pt")["preprocess"]["white"] is None


def test_prepared_images_have_eight_bits_of_the_range(call: Call, camera: Path, tmp_path: Path) -> None:
    outcome = call("--prepare", tmp_path / "small", "--data", camera, "--smaller_side", 18)
    assert outcome.code == 0, outcome.err
    assert "4,095 is white" in outcome.out
    small = sorted((tmp_path / "small").rglob("*.png"))
    assert len(small) == 51
    for file in small:
        with Image.open(file) as image:
            assert image.mode == "RGB"
    numbers = json.loads((tmp_path / "small" / "mean_std.json").read_text())
    train = [read_image(file, white=4095) for file in sorted((camera / "train").rglob("*.*"))]
    assert numbers["mean"] == pytest.approx(np.concatenate([each.reshape(-1, 3) for each in train]).mean(0) / 255, abs=1e-5)
    assert "is white" not in call(*tiny(tmp_path / "small", "--epochs", 1)).out


def test_a_teacher_of_another_range_is_refused_in_one_line(call: Call, camera: Path) -> None:
    teacher = call(*tiny(camera, "--epochs", 1, "--name", "teacher")).run
    content = load_checkpoint(teacher / "best.pt")
    content["preprocess"]["white"] = 65535
    torch.save(content, teacher / "best.pt")
    outcome = call(*tiny(camera, "--teacher", teacher))
    assert outcome.code == 2
    assert "takes 65,535 as white in 16-bit images, this run 4,095" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_stray_file_of_16_bits_is_told_before_it_darkens_a_training(call: Call, camera: Path) -> None:
    stray = camera / "train/light/0.png"
    cv2.imwrite(str(stray), np.full((18, 20), 65535, np.uint16))
    outcome = call(*tiny(camera, "--epochs", 1))
    assert outcome.code == 0, outcome.err
    said, warned = (line for line in outcome.out.splitlines() if "16-bit" in line)
    assert "taken as 16 bits, 65,535 is white" in said
    assert "most 16-bit images end at 4,095 or below" in warned
    assert f"{stray} reaches 65,535" in warned
    assert "remove it or scale it to 12 bits" in warned
