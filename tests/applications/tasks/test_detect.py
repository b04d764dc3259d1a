"""What the task of detection asks of a network in training, without files and commands."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from applications.formats.deployed import BoxCore
from applications.tasks.detect import Detect
from applications.trained.viewed_networks import JoinedBoxes
from applications.trained.views import parse_views
from criterions.detection.criterion import PARTS, build_detection_criterion
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.sources.shapes import CLASSES, scene
from dataloader.targets.boxes import BoxBatch, Boxes
from models.detectors.build import build_detector
from models.detectors.tempered import tempered
from models.options import ModelOptions
from utils.errors import UserError
from utils.spec import parse_specs

SIDE = 64


def task(spec: str = "bce|iou", resize: str = "fit") -> Detect:
    criterion = build_detection_criterion(parse_specs(spec), classes=CLASSES)
    return Detect(CLASSES, criterion, Preprocess((SIDE, SIDE), resize), torch.device("cpu"))


def images(count: int) -> Batch:
    """Return generated images with their boxes."""
    made = [scene(number, side=SIDE) for number in range(count)]
    truths = [Boxes(each.boxes.astype(np.float32), np.array(each.classes, dtype=np.int64), (SIDE, SIDE)) for each in made]
    pixels = torch.from_numpy(np.stack([each.image.transpose(2, 0, 1) for each in made]))
    return Batch(pixels, Boxes.stack(truths), torch.ones(count), torch.arange(count))


def network(arch: str = "yolox") -> nn.Module:
    torch.manual_seed(0)
    return build_detector(arch, num_classes=len(CLASSES), encoder="mobilenetv3_small").train()


def gradients(net: nn.Module, batch: Batch, given: Detect, *, half: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    net.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        result = given.training_step(net, batch)
    result.loss.backward()
    return result.loss.detach(), {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}


def test_a_step_gives_a_loss_and_its_parts_summed_over_images() -> None:
    net, batch = network(), images(3)
    result = task().training_step(net, batch)
    assert set(result.sums) == {"loss", *PARTS}
    assert float(result.sums["loss"]) == pytest.approx(3 * float(result.loss.detach()))
    assert float(result.sums["loss"]) == pytest.approx(sum(float(result.sums[name]) for name in PARTS), rel=1e-5)
    assert not any(value.requires_grad for value in result.sums.values())


@pytest.mark.parametrize("spec", ["bce|iou", "focal_bce|ghm|giou|l1"])
def test_half_precision_trains_nearly_the_same(spec: str) -> None:
    batch = images(2)
    whole, _ = gradients(network(), batch, task(spec))
    half, found = gradients(network(), batch, task(spec), half=True)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(whole), rel=0.1)
    assert all(each.isfinite().all() for each in found.values())


def test_every_parameter_gets_a_gradient_from_images_without_objects_too() -> None:
    net, batch = network(), images(2)
    empty = BoxBatch(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    for given in (batch, Batch(batch.images, empty, batch.weights, batch.indices)):
        _, found = gradients(net, given, task())
        assert len(found) == len(list(net.parameters())), "of several processes each waits for all"
        assert all(each.isfinite().all() for each in found.values())


def test_plain_epochs_add_absolute_differences() -> None:
    net, given = network(), task()
    state = copy.deepcopy(net.state_dict())

    def box_loss(*, plain: bool) -> float:
        net.load_state_dict(state)
        return float(given.training_step(net, replace(images(2), plain=plain)).sums["box"])

    early = box_loss(plain=False)
    assert box_loss(plain=True) > early
    assert box_loss(plain=False) == early


def test_settings_that_a_detector_cannot_use_are_refused() -> None:
    with pytest.raises(UserError, match="cuts off parts of images"):
        task(resize="crop")
    with pytest.raises(UserError, match=r"--drop_rate 0.1: detectors have none"):
        Detect.build_model(ModelOptions(arch="yolox_nano", drop_rate=0.1), CLASSES)
    with pytest.raises(UserError, match=r"--arch yolox --encoder resnet18"):
        Detect.build_model(ModelOptions(), CLASSES)
    assert ModelOptions(arch="yolov3").pretrained_name() == "darknet53"
    assert ModelOptions(arch="yolox").pretrained_name() == "resnet18"
    assert ModelOptions(arch="yolox_s").pretrained_name() == "yolox_s"


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "spec"), [("yolox", "bce|iou"), ("yolov3", "bce|ciou"), ("yolox", "bce|ghm|giou")])
def test_a_network_learns_eight_images_by_heart(arch: str, spec: str) -> None:
    net, given, batch = network(arch), task(spec), images(8)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(300):
        optimizer.zero_grad()
        given.training_step(net, batch).loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
    # Without statistics of other batches, since these images are all there are.
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None
            norm.reset_running_stats()
    with torch.no_grad():
        net(given.normalize(batch.images))
        meter = given.meter(8)
        meter.update(batch, given.forward(net.eval(), batch))
    assert meter.figures()["AP50"] > 0.9


@pytest.mark.parametrize("temperature", [1 / 3, 1.2, 3.0])
def test_scores_of_a_file_in_16_bits_keep_their_order_at_a_temperature_and_are_not_lost(temperature: float) -> None:
    scores = torch.linspace(0.001, 1, 3000).half().unique()
    said = torch.stack([*torch.ones(5, len(scores), dtype=torch.float16), scores], -1)[None]
    found = BoxCore(nn.Identity(), temperature)(said)[1].flatten()
    assert found[0] > 0
    assert bool((found.diff() >= 0).all())
    torch.testing.assert_close(found, tempered(scores.float(), temperature))


def test_a_network_a_file_and_its_views_answer_scores_at_the_temperature() -> None:
    net, batch, given = network().eval(), images(2), task()
    with torch.no_grad():
        raw = given.forward(net, batch).said
        given.temperature = 0.6
        said = given.forward(net, batch).said
        corners, scores = BoxCore(net, 0.6)(given.normalize(batch.images))
        joined = given.forward(JoinedBoxes(net, parse_views("hflip", (SIDE, SIDE))), batch).said
    wanted = ((raw[..., 5:] * raw[..., 4:5]).double().logit() / 0.6).sigmoid().float()
    torch.testing.assert_close(said[..., 4:5] * said[..., 5:], wanted, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(corners, raw[..., :4])
    torch.testing.assert_close(joined[:, : raw.shape[1]], said)
