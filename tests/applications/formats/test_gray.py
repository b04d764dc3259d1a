"""A network that sees brightness alone, or four channels, takes images in every file: geometry and normalization go along."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.formats import build_format
from applications.formats.deployed import deploy
from applications.formats.format import WriteSettings
from dataloader.images.preprocess import fit_images
from models import build_model
from models.backbone import Backbone
from models.input_channels import set_input_channels
from tests.applications.formats.conftest import CLASSES, PREPROCESS, parts_for


@pytest.mark.parametrize("name", ["hub", *(pytest.param(name, marks=pytest.mark.slow) for name in ("torchscript", "onnx"))])
def test_a_file_of_a_gray_network_takes_colors(name: str, map_net: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model("darknet_yolov5n", num_classes=len(CLASSES)).eval()
    set_input_channels(net, 1)
    found, gray = build_format(name), PREPROCESS.seeing(1)
    _, facts = parts_for(found, map_net)
    any_size = found.holds.geometry
    deployed = deploy(net, gray, "softmax", arch="darknet_yolov5n", temperature=1.7, any_size=any_size)
    facts = replace(facts, arch="darknet_yolov5n", preprocess=gray, outputs=("probabilities",))
    path = tmp_path / f"model{found.suffix}"
    found.write(deployed, path, facts, WriteSettings())
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *((40, 30) if any_size else gray.image_size)), dtype=np.uint8)
    with torch.inference_mode():
        expected = deployed.answering(fit_images(torch.from_numpy(images), *gray.image_size, gray.resize))
    np.testing.assert_allclose(found.open(path, threads=1).run(images)[0], expected.numpy(), atol=1e-5)
    turned = images[:, ::-1].copy()
    assert np.abs(found.open(path, threads=1).run(turned)[0] - expected.numpy()).max() > 1e-6, "red and blue weigh differently"


@pytest.mark.parametrize("name", ["hub", "torchscript", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "openvino"))])
def test_a_file_of_a_network_of_four_channels_takes_four(name: str, map_net: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_model("darknet_yolov5n", num_classes=len(CLASSES)).eval()
    set_input_channels(net, 4)
    found, four = build_format(name), PREPROCESS.seeing(4)
    _, facts = parts_for(found, map_net)
    any_size = found.holds.geometry
    deployed = deploy(net, four, "softmax", arch="darknet_yolov5n", temperature=1.7, any_size=any_size)
    facts = replace(facts, arch="darknet_yolov5n", preprocess=four, outputs=("probabilities",))
    path = tmp_path / f"model{found.suffix}"
    found.write(deployed, path, facts, WriteSettings())
    images = np.random.default_rng(0).integers(0, 256, (2, 4, *((40, 30) if any_size else four.image_size)), dtype=np.uint8)
    with torch.inference_mode():
        expected = deployed.answering(fit_images(torch.from_numpy(images), *four.image_size, four.resize))
    opened = found.open(path, threads=1)
    np.testing.assert_allclose(opened.run(images)[0], expected.numpy(), atol=1e-5)
    assert opened.facts.preprocess.bands == 4
    assert '"shape": ["n", 4' in opened.facts.to_json()
    blind = images.copy()
    blind[:, 3] = 0
    assert np.abs(opened.run(blind)[0] - expected.numpy()).max() > 1e-6, "the fourth channel counts"
