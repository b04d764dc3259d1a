"""Whoever comes from another program finds the networks under the names used there."""

import pytest
import torch

from models import FORWARDED, build_model, check_arch, describe, find_adapter, find_family, full_name, list_models
from models.backbone import Backbone
from tests.models.familiar_names import NAMES, RESNETS

PRESENT = sorted({*NAMES})
QUICK = ("mobilenet_v2", "shufflenet_v2_x1_0", "mnasnet1_0", "resnet_20", "zfnet", "ecaresnet50d_pruned")


@pytest.mark.parametrize("name", PRESENT)
def test_a_familiar_name_is_one_of_ours_or_forwarded(name):
    check_arch(name)
    assert (find_family(name) is None) == (name in FORWARDED)


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PRESENT])
def test_a_familiar_name_builds(name):
    if full_name(name).startswith("timm/"):
        pytest.importorskip("timm")
    # torchvision counts the widths of RegNet with tensors.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        net = build_model(name, num_classes=3)
    assert isinstance(net, Backbone)
    assert net.get_classifier().weight.shape[0] == 3


def test_a_forwarded_name_is_the_network_of_its_package():
    torch.manual_seed(0)
    ours = build_model("mobilenet_v2", num_classes=3)
    torch.manual_seed(0)
    theirs = build_model("torchvision/mobilenet_v2", num_classes=3)
    assert all(torch.equal(mine, other) for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert describe("mobilenet_v2") == "mobilenet_v2 (torchvision/mobilenet_v2)"
    assert describe("resnet18") == "resnet18"


def test_forwarded_names_are_no_names_of_families_and_exist_in_their_package():
    assert not {*FORWARDED} & {*list_models()}
    for name, target in FORWARDED.items():
        adapter = find_adapter(name)
        assert adapter is not None
        assert target in list_models(f"{target.partition('/')[0]}/*")


def test_the_residual_networks_of_2021_are_79():
    assert len({*RESNETS}) == 79
