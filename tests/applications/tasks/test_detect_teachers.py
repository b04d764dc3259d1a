"""A detector learns from another one, and is told in one line where it cannot."""

import pytest
import torch
from torch import nn

from applications.objectives.box_distillation import BoxDistillationObjective, BoxTeacher
from criterions.distillation import build_distillation
from dataloader.images.preprocess import Normalize
from models.detectors.detector import Detector
from tests.applications.conftest import Call
from tests.applications.tasks.test_detect import images, network, task


def test_a_teacher_takes_its_share_of_the_loss_and_stays_as_it_is() -> None:
    net, given, batch = network(), task(), images(2)
    torch.manual_seed(1)
    other = network()
    assert isinstance(other, Detector)
    with torch.no_grad():
        for param in other.parameters():
            param.add_(0.01 * torch.randn_like(param))
    teacher = BoxTeacher(other, Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    results = []
    for weight in (0.0, 0.5, 1.0):
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eval()
        terms = build_distillation("kd", "sigmoid")
        objective = BoxDistillationObjective(given.training_step, [teacher], terms, temperature=1.0, weight=weight)
        results.append(objective(net, batch))
    alone, half, taught = (float(each.loss.detach()) for each in results)
    assert alone == pytest.approx(float(given.training_step(net, batch).loss.detach()), rel=1e-5)
    assert half == pytest.approx((alone + taught) / 2, rel=1e-5)
    assert float(results[2].sums["distill"]) == pytest.approx(2 * taught, rel=1e-5)
    assert results[1].count is not None
    results[1].loss.backward()
    assert all(param.grad is None for param in other.parameters())
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.slow
def test_teachers_of_boxes_from_the_command_line(call: Call) -> None:
    flags = ("--data", "shapes", "--task", "detect", "--image_size", 32, 32, "-b", 16, "--workers", 0, "--epochs", 1, "--epoch_size", 32)
    teacher = call(*flags, "--arch", "yolox_tiny", "--name", "teacher")
    assert teacher.code == 0, teacher.err
    taught = call(*flags, "--arch", "yolox_nano", "--teacher", teacher.run, "--name", "taught")
    assert taught.code == 0, taught.err
    assert "train_distill" in (taught.run / "metrics.csv").read_text().splitlines()[0]
    for more, message in (
        (("--arch", "yolov3", "--encoder", "mobilenetv3_small"), "must both answer without anchors"),
        (("--arch", "yolox_nano", "--distill_features"), "--distill_features is for maps of teachers, which --task detect does not do"),
    ):
        refused = call(*flags, *more, "--teacher", teacher.run, "--name", "refused")
        assert (refused.code, message in refused.err) == (2, True), refused.err
