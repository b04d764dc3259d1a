"""The demo of a detector: one file, whose boxes are those of the program."""

import inspect
import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from applications.formats.deployed import BoxCore, deploy_outputs
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import WriteSettings
from applications.formats.onnx_boxes import RAW, choose_in_graph
from applications.formats.torchscript import TorchScript
from applications.tasks.box_answers import Choice, answer_of
from dataloader.images.preprocess import Preprocess
from demos import detector, segmenter
from models.detectors.build import build_detector
from utils.drawing.mask_pictures import class_colors

CLASSES = ("bolt", "nut", "ring")
SHARED = (
    "Compiled",
    "_resize_rows",
    "_to_eight_bits",
    "_turn",
    "_reason",
    "_of_other_task",
    "fit",
    "fitted_size",
    "find_images",
    "name_pictures",
    "class_colors",
)


@pytest.mark.parametrize("name", SHARED)
def test_what_both_demos_do_is_written_alike(name: str) -> None:
    """Neither may import the other; what one learns the other needs, too."""
    assert inspect.getsource(getattr(detector, name)) == inspect.getsource(getattr(segmenter, name))


def test_tasks_are_opened_by_the_same_programs() -> None:
    assert detector.OPENED_BY == segmenter.OPENED_BY


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


# left, top, right, bottom in the network's 48 x 32 pixels, and scores of bolt, nut and ring: two bolts at one place, a place of two
# classes, and a score below the file's least one.
PLACES = {
    (2, 2, 12, 12): (0.9, 0.05, 0),
    (3, 2, 13, 12): (0.8, 0, 0),
    (20, 10, 40, 30): (0, 0.7, 0.3),
    (30, 0, 34, 8): (0, 0, 0.4),
    (10, 20, 20, 30): (0.2, 0, 0),
}
FOUND = [
    ("bolt", 0.9, 4, 4, 24, 24),
    ("nut", 0.7, 40, 20, 80, 60),
    ("ring", 0.4, 60, 0, 68, 16),
    ("ring", 0.3, 40, 20, 80, 60),
]
BELOW = ("bolt", 0.2, 20, 40, 40, 60)


def write_file(folder: Path, name: str, *, chosen: bool) -> Path:
    """Write a detector by hand, whose scores are as high as the lightest value of an image; `chosen`: it chooses among its boxes."""
    outputs = ("boxes", "scores", "classes") if chosen else ("boxes", "scores")
    choice = BoxFacts(0.25, 0.5, 10, False)
    facts = Facts("net", "detect", CLASSES, Preprocess((32, 48)), "none", outputs=outputs, boxes=choice)
    raw = RAW if chosen else outputs
    numbers = {
        "corners": np.array([list(PLACES)], np.float32),
        "sure": np.array([list(PLACES.values())], np.float32),
        "white": np.array(255, np.float32),
        "each": np.array([-1, 1, 1]),
        "nothing": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["values"], ["most"], axes=[1, 2, 3]),
        helper.make_node("Reshape", ["most", "each"], ["lightest"]),
        helper.make_node("Div", ["lightest", "white"], ["light"]),
        helper.make_node("Mul", ["sure", "light"], [raw[1]]),
        helper.make_node("Mul", ["light", "nothing"], ["none"]),
        helper.make_node("Add", ["corners", "none"], [raw[0]]),
    ]
    taken = [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 3, "h", "w"])]
    given = [
        helper.make_tensor_value_info(raw[0], TensorProto.FLOAT, ["n", len(PLACES), 4]),
        helper.make_tensor_value_info(raw[1], TensorProto.FLOAT, ["n", len(PLACES), len(CLASSES)]),
    ]
    constants = [numpy_helper.from_array(value, key) for key, value in numbers.items()]
    graph = helper.make_graph(nodes, "net", taken, given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if chosen:
        choose_in_graph(model, choice, outputs)
    helper.set_model_props(model, {"darkroom.json": facts.to_json()})
    onnx.save(model, folder / "model.onnx")
    if name == "model.xml":
        graph = openvino.Core().read_model(folder / "model.onnx")
        graph.set_rt_info(facts.to_json(), ["darkroom"])
        openvino.save_model(graph, folder / name, compress_to_fp16=False)
    return folder / name


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
@pytest.mark.parametrize("chosen", [True, False])
def test_a_file_answers_its_boxes_and_none_below_conf(
    name: str, chosen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_file(tmp_path, name, chosen=chosen)
    Image.new("RGB", (96, 64), "white").save(tmp_path / "white.png")
    Image.new("RGB", (96, 64)).save(tmp_path / "black.png")

    def told(*flags: str) -> list[tuple]:
        command = ["detector.py", str(file), str(tmp_path / "white.png"), str(tmp_path / "black.png"), "--json", *flags]
        monkeypatch.setattr(sys, "argv", command)
        assert detector.main() == 0
        light, dark = (json.loads(line)["boxes"] for line in capsys.readouterr().out.splitlines())
        assert dark == [], "scores of nothing"
        return [(box["label"], *(pytest.approx(value, abs=1e-4) for value in list(box.values())[1:])) for box in light]

    assert told() == FOUND
    assert told("--conf", "0.5") == FOUND[:2]
    assert told("--conf", "0.1") == (FOUND if chosen else [*FOUND, BELOW]), "what a file has left out does not come back"


def test_pictures_keep_folders_and_never_share_a_name(tmp_path: Path) -> None:
    images = ("a/x.png", "a/y.png", "a/inner/y.jpg", "b/x.jpg", "c/x.png", "c/X.PNG", "c/x.png-2.jpg", "d/z.png")
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).touch()
    places = [str(tmp_path / name) for name in ("a", "b", "c", "d/z.png", "a/y.png")]
    named = {os.path.relpath(path, tmp_path): name for path, name in detector.name_pictures(places).items()}
    assert named == {
        "a/x.png": "x.png",
        "a/y.png": "y",
        "a/inner/y.jpg": "inner/y",
        "b/x.jpg": "x.jpg",
        "c/X.PNG": "X.PNG-2",
        "c/x.png": "x.png-3",
        "c/x.png-2.jpg": "x.png-2-2",
        "d/z.png": "z",
    }


def test_images_of_one_name_keep_their_own_pictures(tmp_path: Path) -> None:
    """The second of them wrote over the first one's."""
    demo = made((32, 48), "fit", Choice(1.0), *said(0))
    for name, width in {"a/x.png": 4, "b/x.bmp": 6, "b/inner/y.png": 8}.items():
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (width, 4)).save(tmp_path / name)
    places = [str(tmp_path / name) for name in ("a/x.png", "b")]
    options = Namespace(images=places, out=str(tmp_path / "out"), json=False, conf=None, benchmark=False)
    assert detector.answer(demo, options) == 0
    out = tmp_path / "out"
    widths = {each.relative_to(out).as_posix(): detector.read_image(str(each)).shape[1] for each in out.rglob("*.png")}
    assert widths == {"x.png-boxes.png": 4, "x.bmp-boxes.png": 6, "inner/y-boxes.png": 8}


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


@pytest.mark.parametrize("demo", [detector, segmenter], ids=["detector", "segmenter"])
def test_mistakes_with_folders_and_images_are_told_in_one_line(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, text, taken, empty = (tmp_path / name for name in ("a.png", "text.png", "taken", "empty"))
    Image.new("RGB", (8, 8)).save(photo)
    text.write_text("no image")
    taken.write_text("a file")
    empty.mkdir()
    pixels = np.zeros((8, 8), np.uint8)
    asked: Any = SimpleNamespace(white=None, classes=("bolt",), boxes=lambda *_: [], mask=lambda _: pixels, areas=lambda _: {"bolt": 1.0})
    monkeypatch.setattr(demo, demo.__name__.rpartition(".")[2].capitalize(), lambda *_: asked)
    for flags, code, said in (
        ((photo, "--out", taken), 2, f"cannot write in {taken}: "),
        ((text,), 1, f"{text}: not an image, or damaged\n"),
        ((empty,), 2, f"no images in {empty}\n"),
        ((empty, "--out", empty), 2, f"--out {empty} is in {empty}, whose images are read"),
        ((tmp_path, "--out", tmp_path / "a/b"), 2, f"--out {tmp_path}/a/b is in {tmp_path}, "),
        ((empty, "--out", tmp_path / "empty-too"), 2, f"no images in {empty}\n"),
    ):
        monkeypatch.setattr(sys, "argv", ["demo", "model.onnx", *map(str, flags)])
        assert demo.main() == code
        err = capsys.readouterr().err
        assert err.startswith(said)
        assert err.count("\n") == 1
