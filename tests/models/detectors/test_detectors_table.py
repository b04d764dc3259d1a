"""What training and export ask of a detector works for every row of the table; the fastest always, all of them when slow."""

import copy
import math
import warnings
from functools import cache

import pytest
import torch

from models.detectors import DETECTORS, ENCODERS, has_anchors
from models.detectors.build import build_detector
from models.detectors.detector import Detector, DetectorOutput
from utils.errors import UserError

CLASSES = 3
FAST = ("yolox_nano", "yolox", "yolov3")
ALL = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DETECTORS]
# Of the maps of strides 8, 16 and 32 of an image of 64 x 96 pixels.
PLACES = 8 * 12 + 4 * 6 + 2 * 3


@cache
def build(arch: str) -> Detector:
    """A network with fresh weights, which no test changes."""
    torch.manual_seed(0)
    return build_detector(arch, num_classes=CLASSES, encoder="mobilenetv3_small" if arch in ENCODERS else None)


@pytest.mark.parametrize("arch", ALL)
def test_a_detector_says_boxes_objectness_and_classes_of_every_place(arch: str) -> None:
    net = build(arch)
    image = torch.randn(2, 3, 64, 96)
    places = PLACES * (3 if has_anchors(arch) else 1)
    with torch.no_grad():
        said = net.eval()(image)
        assert said.shape == (2, places, 5 + CLASSES)
        assert (said[..., 4:] > 0).all()
        assert (said[..., 4:] < 1).all()
        output = net.predict(image)
    assert isinstance(output, DetectorOutput)
    assert output.points.shape == (places, 2)
    assert output.strides.unique().tolist() == [8.0, 16.0, 32.0]
    torch.testing.assert_close(said[..., :4], output.boxes)
    # What `raw` means, in one line each: middles from the corner of the place, sizes over stride or anchor.
    unit = output.strides[:, None] if output.anchors is None else output.anchors
    middles = output.points + (output.raw[..., :2] - 0.5) * output.strides[:, None]
    torch.testing.assert_close(output.boxes[..., :2] + output.boxes[..., 2:], 2 * middles)
    torch.testing.assert_close(output.boxes[..., 2:] - output.boxes[..., :2], output.raw[..., 2:].exp() * unit, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("arch", ALL)
def test_gradients_reach_every_parameter(arch: str) -> None:
    net = copy.deepcopy(build(arch)).train()
    output = net(torch.randn(2, 3, 64, 64))
    assert isinstance(output, DetectorOutput)
    (output.boxes.mean() + output.objectness.mean() + output.classes.mean()).backward()
    assert not [name for name, each in net.named_parameters() if each.grad is None or not each.grad.isfinite().all()]


@pytest.mark.parametrize("arch", ALL)
def test_an_untrained_head_sees_objects_and_classes_nearly_nowhere(arch: str) -> None:
    with torch.no_grad():
        said = build(arch).eval()(torch.randn(1, 3, 64, 64))
    assert float(said[..., 4:].mean()) == pytest.approx(0.01, rel=0.5)
    for classifier in build(arch).classifiers():
        assert classifier.bias is not None
        torch.testing.assert_close(classifier.bias.detach(), torch.full_like(classifier.bias, -math.log(99)))


@pytest.mark.parametrize("arch", ["yolox_nano", "yolox", "yolov3"])
def test_sizes_that_do_not_fit_are_refused_or_taken(arch: str) -> None:
    net = build(arch)
    net.check_size((64, 96))
    if arch == "yolox_nano":
        with pytest.raises(UserError, match=r"multiples of 32, not 100 x 70; give --image_size 96 64"):
            net.check_size((100, 70))
    else:
        net.check_size((100, 70))
        with torch.no_grad():
            output = net.predict(torch.randn(1, 3, 100, 70))
        assert output.points.shape[0] == output.boxes.shape[1]
        assert (output.points.amax(0) < torch.tensor([70 + 32, 100 + 32])).all()


def test_head_and_rest_are_told_apart() -> None:
    for arch, prefix in (("yolox_nano", "head."), ("yolox", "decoder."), ("yolov3", "decoder.")):
        net = build(arch)
        inside = {id(each) for each in net.get_head().parameters()}
        assert {name for name, each in net.named_parameters() if id(each) in inside} == {
            name for name, _ in net.named_parameters() if name.startswith(prefix)
        }


@pytest.mark.parametrize(
    ("arch", "parts", "message"),
    [
        ("yolox_nano", {"encoder": "resnet18"}, r"--encoder resnet18: yolox_nano comes as a whole; leave it out, or take --arch yolox"),
        ("yolox_s", {"neck": "fpn"}, r"--neck fpn: yolox_s comes as a whole"),
        ("yolox", {"anchors": "auto"}, r"--anchors auto: yolox has no anchors; leave it out, or take --arch yolov3"),
        ("yolox", {"encoder": "yolox_s"}, r"--encoder yolox_s is a detector itself"),
        ("yolox", {"encoder": "vit_tiny_patch16_224"}, r"maps of stride 8, 16, 32 are wanted"),
        ("yolox(width=0)", {}, r"width 0 must be a number above 0"),
        ("yolox(depth=2)", {}, r"yolox\(depth=2\)'.*depth.*yolox\(width=0.5"),
        ("yolov3", {"neck": "pan"}, r"--neck pan: yolov3 joins its maps in its own way"),
        ("yolov3", {"anchors": "10x13"}, r"write auto, or nine of WIDTHxHEIGHT"),
        ("resnet18", {}, r"write --arch yolox --encoder resnet18; see --list detectors"),
        ("torchvision/fasterrcnn_resnet50_fpn", {}, r"keeps its losses and its answers to itself; take --arch yolox --encoder torchvision"),
        ("yolo_nano", {}, r"unknown detector 'yolo_nano'. Did you mean yolox_nano"),
    ],
)
def test_mistakes_are_answered_with_what_to_write(arch: str, parts: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_detector(arch, num_classes=2, **parts)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["yolox_nano", "yolox", "yolov3_spp"])
def test_exported_programs_answer_alike(arch: str, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    net = build(arch).eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = net(image)
        program = torch.export.export(net, (image,), dynamic_shapes={"x": {0: torch.export.Dim("N", min=1, max=64)}})
        torch.testing.assert_close(program.module()(image), wanted)
        torch.testing.assert_close(torch.jit.trace(net, image)(image), wanted)  # pyright: ignore[reportCallIssue]
        torch.onnx.export(net, (image,), str(tmp_path / "net.onnx"), dynamo=True, dynamic_shapes={"x": {0: torch.export.Dim("N")}})
    answer = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"x": image[:1].numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(answer), wanted[:1], rtol=1e-3, atol=1e-3)
