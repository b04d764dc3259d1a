"""Detection from main.py: it trains, goes on to the bit, on several processes, from a file of convolutions, with anchors of the data."""

from pathlib import Path

import pytest
import torch
from torch import nn

from dataloader.sources.shapes import CLASSES, scene, write_png
from tests.applications.conftest import Call, start
from utils.checkpoint import load_checkpoint

SIDE = 48
FLAGS = (
    *("--task", "detect", "--image_size", 64, 64, "-b", 8, "--workers", 0, "--lr", 0.01, "--warmup", 0, "--precision", "fp32"),
    *("--schedule", "constant"),
)
TINY = ("--arch", "yolox(width=0.25)", "--encoder", "mobilenetv3_small", "--neck", "pan(channels=32)")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of 48 pixels, with boxes as YOLO writes them; every fourth image shows nothing."""
    home = tmp_path_factory.mktemp("scenes")
    for split, numbers in (("train", range(16)), ("val", range(16, 22))):
        for folder in ("images", "labels"):
            (home / folder / split).mkdir(parents=True)
        for number in numbers:
            made, lines = scene(number, side=SIDE), []
            for (left, top, right, bottom), kind in zip(made.boxes.tolist(), made.classes.tolist(), strict=True):
                values = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
                lines.append(" ".join([str(kind), *(f"{value / SIDE:.6f}" for value in values)]))
            write_png(made.image, home / "images" / split / f"{number:03d}.png")
            (home / "labels" / split / f"{number:03d}.txt").write_text("\n".join(lines) if number % 4 else "")
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (home / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return home


def same(first: Path, second: Path) -> None:
    for part in ("state_dict", "state_dict_ema"):
        ours, theirs = (load_checkpoint(run / "last.pt")[part] for run in (first, second))
        assert all(bool((ours[name] == theirs[name]).all()) for name in ours), part


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(call: Call, scenes: Path) -> None:
    more = (*TINY, "--aug", "flip", "--multi_scale", "--ema", 0.9, "--criterion", "bce|ghm|class_weights(auto)|giou|ghm_r")
    unbroken = call("--data", scenes, *FLAGS, *more, "--epochs", 3, "--name", "unbroken")
    assert unbroken.code == 0, unbroken.err
    first = call("--data", scenes, *FLAGS, *more, "--epochs", 2, "--name", "two")
    resumed = call("--resume", first.run, "--epochs", 3)
    assert resumed.code == 0, resumed.err
    same(first.run, unbroken.run)


def test_anchors_of_the_data_are_kept(call: Call, scenes: Path) -> None:
    arch = ("--arch", "yolov3", "--encoder", "mobilenetv3_small", "--anchors", "auto", "--ema", 0.9)
    unbroken = call("--data", scenes, *FLAGS, *arch, "--epochs", 2, "--name", "anchors")
    assert unbroken.code == 0, unbroken.err
    assert "by the sizes of" in unbroken.out
    anchors = load_checkpoint(unbroken.run / "best.pt")["state_dict"]["decoder.anchors"]
    assert anchors.max() < 64
    first = call("--data", scenes, *FLAGS, *arch, "--epochs", 1, "--name", "one")
    resumed = call("--resume", first.run, "--epochs", 2)
    assert resumed.code == 0, resumed.err
    same(first.run, unbroken.run)


def test_a_run_starts_from_a_file_of_convolutions_and_freezes_all_but_the_head(call: Call, scenes: Path, tmp_path: Path) -> None:
    from models.detectors.build import build_detector

    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net = build_detector("yolox_nano", num_classes=80).eval()
    # The exporter joins batch norms with convolutions, and stores equal biases once, which no trained network has.
    for name, value in net.named_parameters():
        if name.endswith(".bias"):
            nn.init.normal_(value, std=0.1)
    torch.onnx.export(net, (torch.zeros(1, 3, 64, 64),), str(tmp_path / "yolox_nano.onnx"), dynamo=False, do_constant_folding=True)
    flags = ("--arch", "yolox_nano", "--init_from", tmp_path / "yolox_nano.onnx", "--freeze", "backbone", "--epochs", 1)
    trained = call("--data", scenes, *FLAGS, *flags, "--name", "started")
    assert trained.code == 0, trained.err
    assert "classifier kept at its start (80 -> " in trained.out
    assert "are measured again on 16 images" in trained.out
    held = load_checkpoint(trained.run / "last.pt")["state_dict"]
    name = "backbone.C3_p4.conv3.bn.weight"
    assert not torch.equal(held[name], torch.ones_like(held[name])), "measured"


def test_several_processes_train_one_network(scenes: Path, tmp_path: Path) -> None:
    process = start("--data", scenes, *FLAGS, *TINY, "--epochs", 1, "--nproc", 2, "--name", "two", folder=tmp_path)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert out.count("done: best val") == 1, "one process speaks"
