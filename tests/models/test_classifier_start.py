"""A fresh classifier begins at about even answers at any number of classes."""

import math

import pytest
import torch
import torchvision
from torch.nn import functional as F

from models import build_model


def excess_loss(arch: str, classes: int) -> float:
    """Return how far the first loss of a training step is above that of guessing."""
    torch.manual_seed(1)
    net = build_model(arch, num_classes=classes).train()
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return float(F.cross_entropy(net(images), torch.arange(8) % classes)) - math.log(classes)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("arch", ["efficientnet_b0", "timm/mobilenetv2_100", "torchvision/mnasnet0_5"])
def test_networks_whose_authors_draw_by_the_number_of_classes_begin_at_even_answers(arch: str, classes: int) -> None:
    assert excess_loss(arch, classes) < 0.5


def test_a_classifier_that_is_not_too_wide_keeps_the_weights_of_its_package() -> None:
    torch.manual_seed(0)
    ours = build_model("torchvision/resnet18", num_classes=2)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=2)
    assert torch.equal(ours.get_classifier().weight, theirs.fc.weight)
