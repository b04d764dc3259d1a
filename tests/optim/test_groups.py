"""Claims about weight decay: who gets it."""

import pytest
from torch import nn

from optim.groups import param_groups
from utils.errors import UserError


class Block(nn.Module):
    """A convolution, norms of several kinds (one over two dimensions), a classifier, a layer scale."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.wide_norm = nn.LayerNorm((4, 4))
        self.group_norm = nn.GroupNorm(2, 4)
        self.fc = nn.Linear(4, 2)
        self.act = nn.PReLU(4)


def named(model, weight_decay=0.1):
    names = {id(param): name for name, param in model.named_parameters()}
    return {group["weight_decay"]: {names[id(param)] for param in group["params"]} for group in param_groups(model, weight_decay)}


def test_only_the_weights_of_convolutions_and_linear_layers_decay():
    groups = named(Block())
    assert groups[0.1] == {"conv.weight", "fc.weight"}
    norms = {f"{layer}.{part}" for layer in ("bn", "wide_norm", "group_norm") for part in ("weight", "bias")}
    assert groups[0.0] == norms | {"conv.bias", "fc.bias", "act.weight"}


def test_frozen_parameters_are_left_out():
    model = Block()
    model.conv.requires_grad_(False)
    assert named(model)[0.1] == {"fc.weight"}


def test_a_shared_parameter_is_listed_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert sum(len(group["params"]) for group in param_groups(model, 0.1)) == 3


def test_a_model_without_weights_has_no_empty_group():
    assert [group["weight_decay"] for group in param_groups(nn.BatchNorm2d(3), 0.1)] == [0.0]


def test_a_frozen_model_is_refused():
    with pytest.raises(UserError, match="frozen"):
        param_groups(Block().requires_grad_(False), 0.1)
