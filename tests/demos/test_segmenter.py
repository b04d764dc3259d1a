"""The demo of a segmenter: one file, whose masks are those of evaluation."""

import inspect
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import WriteSettings
from applications.formats.torchscript import TorchScript
from applications.tasks.mask_answers import mask_of
from dataloader.images.preprocess import Preprocess
from demos import classifier, segmenter
from models.segmenters.build import build_segmenter
from utils.drawing.mask_pictures import class_colors

CLASSES = ("ground", "disc", "bar")


@pytest.mark.parametrize(
    "name",
    ["_resize_rows", "_to_eight_bits", "_turn", "_reason", "open_onnx", "Compiled", "open_openvino", "open_torchscript", "_of_other_task"],
)
def test_what_both_demos_do_is_written_alike(name: str) -> None:
    """Neither may import the other; what one learns the other needs, too."""
    assert inspect.getsource(getattr(segmenter, name)) == inspect.getsource(getattr(classifier, name))


def test_tasks_are_opened_by_the_same_programs() -> None:
    assert segmenter.OPENED_BY == classifier.OPENED_BY


def made(size: tuple[int, int], resize: str, answer: np.ndarray, activation: str) -> Any:
    """Return a demo whose model gives this answer to any image."""
    demo = segmenter.Segmenter.__new__(segmenter.Segmenter)
    demo.card = {"image_size": size, "resize": resize, "activation": activation, "any_size": True}
    demo.classes, demo.white = CLASSES, None
    demo._height, demo._width = size
    demo._stretches = resize == "stretch"
    demo._run = lambda _: answer[None]
    return demo


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (16, 20)])
@pytest.mark.parametrize("resize", ["fit", "stretch"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_mask_is_that_of_evaluation(shape: tuple[int, int], resize: str, activation: str) -> None:
    preprocess = Preprocess(image_size=(32, 48), resize=resize)
    logits = 3 * torch.randn(len(CLASSES), 32, 48, generator=torch.Generator().manual_seed(0))
    answer = logits.softmax(0) if activation == "softmax" else logits.sigmoid()
    wanted = mask_of(logits, preprocess.change(shape).undone(shape))
    found = made((32, 48), resize, answer.numpy(), activation).mask(np.zeros((*shape, 3), np.uint8))
    assert (found == wanted).mean() > 0.999, "but for pixels between two classes"


def test_colors_are_those_of_the_program() -> None:
    assert (segmenter.class_colors(20) == class_colors(20)).all()


def test_a_file_is_opened_and_its_pictures_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_segmenter("lraspp", encoder="mobilenetv3_small", num_classes=len(CLASSES)).eval()
    preprocess = Preprocess(image_size=(32, 32))
    facts = Facts("lraspp", "segment", CLASSES, preprocess, "softmax")
    file = tmp_path / "model.jit.pt"
    TorchScript().write(deploy(model, preprocess, "softmax", arch="lraspp"), file, facts, WriteSettings())
    image = torch.randint(0, 256, (50, 40, 3), dtype=torch.uint8).numpy()
    Image.fromarray(image).save(tmp_path / "part.png")
    command = [sys.executable, segmenter.__file__, str(file), str(tmp_path / "part.png"), "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert sum(told["areas"].values()) == pytest.approx(1)
    mask = np.asarray(Image.open(tmp_path / "out" / "part-mask.png"))
    assert mask.shape == (50, 40)
    logits = model(
        (preprocess.apply(image)[None] / 255 - torch.tensor(preprocess.mean)[:, None, None]) / torch.tensor(preprocess.std)[:, None, None]
    )
    wanted = mask_of(logits[0].detach(), preprocess.change((50, 40)).undone((50, 40)))
    assert (mask == wanted).mean() > 0.999
    assert (tmp_path / "out" / "part-overlay.png").is_file()


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, segmenter.__file__, str(tmp_path / "none.onnx"), "x"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_images_of_one_name_keep_their_own_pictures(tmp_path: Path) -> None:
    """The second of them wrote over the first one's."""
    answer = np.eye(len(CLASSES), dtype=np.float32)[:, :, None] * np.ones((1, 1, 4), np.float32)
    demo = made((3, 4), "stretch", answer, "softmax")
    for name, height in {"a/x.png": 3, "b/x.bmp": 6}.items():
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, height)).save(tmp_path / name)
    options = Namespace(images=[str(tmp_path / "a"), str(tmp_path / "b")], out=str(tmp_path / "out"), json=False, benchmark=False)
    assert segmenter.answer(demo, options) == 0
    heights = {each.name: len(segmenter.read_image(str(each))) for each in (tmp_path / "out").iterdir()}
    assert heights == {"x.png-mask.png": 3, "x.png-overlay.png": 3, "x.bmp-mask.png": 6, "x.bmp-overlay.png": 6}
