"""Position embeddings, class tokens and tables of relative positions do not decay: the groups are those of timm."""

import pytest
import torch
from torch import nn

from models import build_model
from models.adapters.wrapped import UserModel
from optim.param_groups import param_groups

timm = pytest.importorskip("timm")


def undecayed(model):
    names = {id(param): name for name, param in model.named_parameters()}
    groups = param_groups(model, 0.1, lr=0.1, no_decay=model.no_weight_decay())
    return {names[id(param)].removeprefix("net.") for group in groups if not group["weight_decay"] for param in group["params"]}


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "beit_base_patch16_224"]
)
def test_the_groups_of_a_timm_network_are_those_of_timm(name):
    from timm.optim import param_groups_weight_decay

    model = build_model(f"timm/{name}", num_classes=3)
    theirs = param_groups_weight_decay(model.net, 0.1, no_weight_decay_list=model.net.no_weight_decay())
    names = {id(param): name for name, param in model.net.named_parameters()}
    assert undecayed(model) == {names[id(param)] for group in theirs if not group["weight_decay"] for param in group["params"]}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "cait_xxs24_224", "swin_tiny_patch4_window7_224", "convnextv2_atto"])
def test_the_groups_of_our_own_transformers_are_those_of_timm(name):
    from timm.optim import param_groups_weight_decay

    with torch.device("meta"):
        model, theirs = build_model(name, num_classes=3), timm.create_model(name, num_classes=3)
    spared = getattr(theirs, "no_weight_decay", frozenset)()
    names = {id(param): name for name, param in theirs.named_parameters()}
    groups = param_groups_weight_decay(theirs, 0.1, no_weight_decay_list=spared)
    assert undecayed(model) == {names[id(param)] for group in groups if not group["weight_decay"] for param in group["params"]}


@pytest.mark.parametrize(
    ("name", "spared"),
    [
        ("vit_b_32", {"class_token", "encoder.pos_embedding"}),
        ("swin_t", {"features.1.0.attn.relative_position_bias_table"}),
        ("swin_v2_t", {"features.1.0.attn.logit_scale", "features.1.0.attn.cpb_mlp.0.weight"}),
        ("convnext_tiny", {"features.1.0.layer_scale"}),
    ],
)
def test_the_same_parts_of_torchvisions_networks_rest(name, spared):
    model = build_model(f"torchvision/{name}", num_classes=3)
    rest = undecayed(model)
    assert spared <= rest
    large = {name for name, param in model.net.named_parameters() if param.ndim > 1} & rest
    # Nothing else that has dimensions: one of these a block.
    ends = {name.rsplit(".", 1)[-1] for name in spared if "cpb_mlp" not in name}
    assert all(name.rsplit(".", 1)[-1] in ends or "cpb_mlp" in name for name in large)


def test_networks_without_such_parts_are_grouped_as_ever():
    model = build_model("resnet18", num_classes=3)
    assert model.no_weight_decay() == frozenset()
    assert build_model("timm/resnet18", num_classes=3).no_weight_decay() == frozenset()


def test_a_module_of_the_users_own_names_its_parts_as_timm_does():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(nn.Linear(4, 4).weight.detach())
            self.fc = nn.Linear(4, 3)

        def no_weight_decay(self):
            return {"token"}

    assert undecayed(UserModel(Own(), arch="own", num_classes=3)) == {"token", "fc.bias"}
