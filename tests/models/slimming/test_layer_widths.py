"""Claims about plans of widths: what they leave alone, and what they change."""

from typing import Any

import torch

from models import build_model
from models.slimming.channel_groups import ChannelGroups
from models.slimming.layer_widths import read_widths, set_widths


def test_a_plan_of_the_same_widths_leaves_the_weights_alone():
    model = build_model("resnet18", num_classes=5)
    before = {name: value.data_ptr() for name, value in model.state_dict().items()}
    set_widths(model, read_widths(model))
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == before


def test_the_classifier_may_keep_its_outputs():
    model: Any = build_model("resnet18", num_classes=5).eval()
    groups = ChannelGroups(model, model.get_classifier(), (32, 48))
    groups.remove([torch.arange(len(stay)) % 2 == 0 for stay in groups.everything()])
    assert model.fc.in_features == 256
    other: Any = build_model("resnet18", num_classes=9)
    set_widths(other, read_widths(model), classifier=other.get_classifier())
    assert other.fc.weight.shape == (9, model.fc.in_features)
