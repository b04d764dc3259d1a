"""The demo of a detector: one file, whose boxes are those of the program."""

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from applications.formats.deployed import BoxCore, deploy_outputs
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import WriteSettings
from applications.formats.torchscript import TorchScript
from applications.tasks.box_answers import Choice, answer_of
from dataloader.images.preprocess import Preprocess
from demos import detector, segmenter
from models.detectors.build import build_detector
from utils.drawing.mask_pictures import class_colors

CLASSES = ("bolt", "nut", "ring")
SHARED = ("Compiled", "_resize_rows", "_to_eight_bits", "_turn", "_reason", "fit", "fitted_size", "find_images", "class_colors")


@pytest.mark.parametrize("name", SHARED)
def test_what_both_demos_do_is_written_alike(name: str) -> None:
    """Neither may import the other; what one learns the other needs, too."""
    assert inspect.getsource(getattr(detector, name)) == inspect.getsource(getattr(segmenter, name))


def said(seed: int, places: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return corners and scores of places in an image of 48 x 32 pixels."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform(4, 28, (6, 2))[rng.integers(0, 6, places)] + rng.normal(0, 1, (places, 2))
    sizes = rng.uniform(4, 12, (places, 2))
    corners = np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)
    return corners.astype(np.float32), (rng.random((places, len(CLASSES))) ** 3).astype(np.float32)


def made(size: tuple[int, int], resize: str, choice: Choice, corners: np.ndarray, scores: np.ndarray) -> Any:
    """Return a demo whose model says this of any image."""
    demo = detector.Detector.__new__(detector.Detector)
    chosen = {"confidence": choice.confidence, "overlap": choice.overlap, "most": choice.most, "agnostic": choice.agnostic}
    demo.card = {"image_size": size, "resize": resize, "any_size": True, "boxes": chosen}
    demo.classes, demo.white = CLASSES, None
    demo._height, demo._width = size
    demo._run = lambda _: [corners[None], scores[None]]
    return demo


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (16, 20)])
@pytest.mark.parametrize("resize", ["fit", "stretch"])
@pytest.mark.parametrize("agnostic", [False, True])
def test_boxes_are_those_of_the_program(shape: tuple[int, int], resize: str, agnostic: bool) -> None:
    corners, scores = said(1)
    choice = Choice(0.3, 0.5, 30, agnostic)
    back = Preprocess(image_size=(32, 48), resize=resize).change(shape)
    told = torch.cat([torch.from_numpy(corners), torch.ones(len(corners), 1), torch.from_numpy(scores)], 1)
    wanted = answer_of(told, choice, back.undone(shape))
    found = made((32, 48), resize, choice, corners, scores).boxes(np.zeros((*shape, 3), np.uint8))
    assert [box.label for box in found] == [CLASSES[label] for label in wanted.classes]
    np.testing.assert_allclose([box.score for box in found], wanted.scores, rtol=1e-6)
    np.testing.assert_allclose([box[2:] for box in found], wanted.corners, atol=1e-3)


def test_no_box_is_no_error() -> None:
    assert made((32, 48), "fit", Choice(1.0), *said(0)).boxes(np.zeros((20, 20, 3), np.uint8)) == []


def test_colors_are_those_of_the_program() -> None:
    assert (detector.class_colors(20) == class_colors(20)).all()


@pytest.mark.slow
def test_a_file_is_opened_and_answered_without_the_program(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_detector("yolox_nano", num_classes=len(CLASSES)).eval()
    preprocess = Preprocess(image_size=(64, 64))
    facts = Facts("yolox_nano", "detect", CLASSES, preprocess, "none", outputs=("boxes", "scores"), boxes=BoxFacts(0.0, 0.65, 5, False))
    TorchScript().write(deploy_outputs(BoxCore(net).eval(), preprocess), tmp_path / "model.jit.pt", facts, WriteSettings())
    # Without a border, in which any of the boxes of an untrained network may lie.
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, inspect.getfile(detector), "model.jit.pt", "a.png", "--json", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["boxes"]) == 5
    assert (tmp_path / "out/a-boxes.png").is_file()
