"""Claims about parameter groups: who decays, at which rate a layer learns, who is frozen."""

import pytest
from torch import nn

from optim.param_groups import blocks, freeze, frozen_norms, param_groups
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
    return {group["weight_decay"]: {names[id(param)] for param in group["params"]} for group in param_groups(model, weight_decay, lr=0.1)}


def test_only_the_weights_of_convolutions_and_linear_layers_decay():
    groups = named(Block())
    assert groups[0.1] == {"conv.weight", "fc.weight"}
    norms = {f"{layer}.{part}" for layer in ("bn", "wide_norm", "group_norm") for part in ("weight", "bias")}
    assert groups[0.0] == norms | {"conv.bias", "fc.bias", "act.weight"}


def test_what_the_network_names_does_not_decay():
    model = Block()
    names = {id(param): name for name, param in model.named_parameters()}
    groups = param_groups(model, 0.1, lr=0.1, no_decay=("f*.weight", "nothing"))
    assert {names[id(param)] for group in groups if group["weight_decay"] for param in group["params"]} == {"conv.weight"}


def test_frozen_parameters_are_left_out():
    model = Block()
    model.conv.requires_grad_(False)
    assert named(model)[0.1] == {"fc.weight"}


def test_a_shared_parameter_is_listed_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert sum(len(group["params"]) for group in param_groups(model, 0.1, lr=0.1)) == 3


def test_a_model_without_weights_has_no_empty_group():
    assert [group["weight_decay"] for group in param_groups(nn.BatchNorm2d(3), 0.1, lr=0.1)] == [0.0]


def test_a_frozen_model_is_refused():
    with pytest.raises(UserError, match="frozen"):
        param_groups(Block().requires_grad_(False), 0.1, lr=0.1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.bn = nn.BatchNorm2d(4)


class Net(nn.Module):
    """A stem, three residual blocks in two stages, a classifier, and a loose parameter."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(nn.Linear(4, 1).weight.detach())
        self.stem = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.stage1 = nn.Sequential(Residual(), Residual())
        self.stage2 = nn.Sequential(Residual())
        self.fc = nn.Linear(4, 2)


def rates(model, **settings):
    names = {id(param): name for name, param in model.named_parameters()}
    return {names[id(param)]: group["lr"] for group in param_groups(model, 0.1, **settings) for param in group["params"]}


def test_blocks_are_layers_and_residual_blocks_in_order():
    model = Net()
    assert [name for name, _ in blocks(model)] == ["stem", "stage1.0", "stage1.1", "stage2.0", "fc"]
    listed = [id(param) for _, params in blocks(model) for param in params]
    assert sorted(listed) == sorted(id(param) for param in model.parameters())


def test_a_part_that_holds_most_of_the_network_is_opened():
    wrapper = nn.Module()
    wrapper.net = Net()
    assert [name for name, _ in blocks(wrapper)] == ["net.stem", "net.stage1.0", "net.stage1.1", "net.stage2.0", "net.fc"]


def test_every_block_learns_slower_than_the_one_above():
    found = rates(Net(), lr=0.8, layer_decay=0.5)
    expected = {"fc.weight": 0.8, "stage2.0.bn.bias": 0.4, "stage1.1.conv.weight": 0.2, "stage1.0.conv.weight": 0.1}
    expected |= {"stem.weight": 0.05, "bn.weight": 0.05, "token": 0.05}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_classifier_has_a_rate_of_its_own():
    model = Net()
    found = rates(model, lr=0.1, head=model.fc, head_lr=2.0)
    assert {name for name, rate in found.items() if rate == 2.0} == {"fc.weight", "fc.bias"}
    assert set(found.values()) == {0.1, 2.0}


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"head_lr": 0.0}, "--head_lr"), ({"layer_decay": 1.5}, "--layer_decay"), ({"layer_decay": 0.0}, "--layer_decay")],
)
def test_impossible_rates_name_their_flag(settings, flag):
    with pytest.raises(UserError, match=flag):
        param_groups(Net(), 0.1, lr=0.1, **settings)


def learning(model):
    return {name for name, param in model.named_parameters() if param.requires_grad}


def test_a_frozen_backbone_leaves_the_classifier():
    model = Net()
    assert "of" in freeze(model, ["backbone"], head=model.fc)
    assert learning(model) == {"fc.weight", "fc.bias"}
    assert frozen_norms(model) == [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_blocks_are_frozen_from_the_input():
    model = Net()
    freeze(model, ["2"], head=model.fc)
    gone = {"token", "stem", "bn", "stage1.0"}
    assert {name for name, _ in model.named_parameters()} - learning(model) == {
        name for name, _ in model.named_parameters() if any(name == part or name.startswith(f"{part}.") for part in gone)
    }


def test_names_and_patterns_freeze():
    model = Net()
    freeze(model, ["stage[12]", "fc.bias"], head=model.fc)
    assert learning(model) == {"token", "stem.weight", "stem.bias", "bn.weight", "bn.bias", "fc.weight"}


@pytest.mark.parametrize(("word", "said"), [("stagg1", "Did you mean stage1"), ("5", "5 blocks"), ("0", "5 blocks")])
def test_what_cannot_be_frozen_is_named(word, said):
    model = Net()
    with pytest.raises(UserError, match=rf"--freeze {word}: .*{said}"):
        freeze(model, [word], head=model.fc)


def test_a_norm_that_learns_in_part_keeps_counting():
    model = Net()
    freeze(model, ["bn.weight", "stem"], head=model.fc)
    assert frozen_norms(model) == []
