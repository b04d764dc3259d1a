"""Detectors start, freeze and load as other networks do; what training images decide is decided once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from applications.assemble.batches import build_preprocess
from applications.assemble.network import _load_from, find_head
from applications.assemble.unfolded_norms import measure_folded_norms
from applications.settings.options import RunConfig
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from models import build_model
from models.detectors.build import build_detector
from models.detectors.detector import Detector
from models.detectors.encoder_detector import EncoderDetector
from models.detectors.folded_batchnorm import folded_norms
from optim.param_groups import freeze

CLASSES = ("sky", "road", "car")


def detector(arch: str = "yolox") -> EncoderDetector:
    net = build_detector(arch, num_classes=len(CLASSES), encoder="mobilenetv3_small")
    assert isinstance(net, EncoderDetector)
    return net


def config(**model: object) -> RunConfig:
    return RunConfig.from_dict({"arch": "yolox_nano", "image_size": [64, 64], **model})


def test_freezing_the_backbone_leaves_neck_and_head() -> None:
    model = detector()
    assert find_head(model) is model.decoder
    freeze(model, ["backbone"], head=model.decoder)
    assert not [name for name, each in model.named_parameters() if each.requires_grad != name.startswith("decoder.")]


def test_a_classifier_starts_the_encoder(tmp_path: Path) -> None:
    classifier = build_model("mobilenetv3_small", num_classes=5)
    torch.save({"state_dict": classifier.state_dict(), "classes": list("abcde"), "channels": {}}, tmp_path / "best.pt")
    model = detector()
    _load_from(model, tmp_path / "best.pt", CLASSES)
    name = "features.0.0.weight"
    torch.testing.assert_close(model.encoder.backbone.state_dict()[name], classifier.state_dict()[name])


@pytest.mark.parametrize("arch", ["yolox", "yolov3"])
def test_a_detector_of_other_classes_keeps_their_rows_by_name(arch: str, tmp_path: Path) -> None:
    first, second = detector(arch), detector(arch)
    for given in first.classifiers():
        nn.init.normal_(given.weight)
    torch.save({"state_dict": first.state_dict(), "classes": ["car", "sky", "tree"], "channels": {}}, tmp_path / "best.pt")
    fresh = [each.weight.detach().clone() for each in second.classifiers()]
    _load_from(second, tmp_path / "best.pt", CLASSES)
    for old, new, start in zip(first.classifiers(), second.classifiers(), fresh, strict=True):
        # One block of rows for every anchor.
        theirs, ours, own = (values.detach().reshape(-1, 3, values[0].numel()) for values in (old.weight, new.weight, start))
        torch.testing.assert_close(ours[:, 0], theirs[:, 1], msg="sky")
        torch.testing.assert_close(ours[:, 1], own[:, 1], msg="road is new")
        torch.testing.assert_close(ours[:, 2], theirs[:, 0], msg="car")


@pytest.mark.parametrize("arch", ["yolox", "yolov3"])
def test_a_detector_of_more_classes_starts_one_of_fewer(arch: str, tmp_path: Path) -> None:
    other = build_detector(arch, num_classes=7, encoder="mobilenetv3_small")
    torch.save({"state_dict": other.state_dict(), "classes": list("abcdefg"), "channels": {}}, tmp_path / "best.pt")
    model = detector(arch)
    fresh = model.get_classifier().weight.detach().clone()
    _load_from(model, tmp_path / "best.pt", CLASSES)
    torch.testing.assert_close(model.get_classifier().weight.detach(), fresh)
    torch.testing.assert_close(next(model.decoder.parameters()), next(other.get_head().parameters()))


def test_bare_published_weights_bring_their_numbers(tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(1)}}, tmp_path / "yolox_nano.pth")
    numbers = build_preprocess(config(init_from=str(tmp_path / "yolox_nano.pth")))
    assert numbers.mean == (0.0, 0.0, 0.0)
    assert numbers.std == (1 / 255,) * 3
    other = build_preprocess(config(arch="yolox", init_from=str(tmp_path / "yolox_nano.pth")))
    assert other.mean == Preprocess().mean


class Pictures:
    """Images in memory, of which one cannot be read."""

    def __len__(self) -> int:
        return 5

    def read(self, index: int) -> np.ndarray:
        if index == 2:
            raise ImageError("2.png", "it is broken")
        return np.random.default_rng(index).integers(0, 256, (70, 50, 3), dtype=np.uint8)


def folded() -> Detector:
    net = build_detector("yolox_nano", num_classes=2).eval()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
    return net


def test_norms_are_measured_on_images_that_can_be_read_and_the_answers_stay() -> None:
    net, image = folded(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = net(image)
        measure_folded_norms(net, Pictures(), Preprocess((64, 64)))  # pyright: ignore[reportArgumentType]
        assert not folded_norms(net)
        torch.testing.assert_close(net(image), before, rtol=1e-3, atol=1e-3)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    measure_folded_norms(net, Pictures(), Preprocess((64, 64)))  # pyright: ignore[reportArgumentType]
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()), "once"
