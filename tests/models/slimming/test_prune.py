"""Claims about pruning: which channels go, how many, and what the network computes without them."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models import build_model
from models.backbone import Backbone
from models.slimming.channel_groups import ChannelGroups, masked_units
from models.slimming.layer_widths import read_widths, set_widths
from models.slimming.prune import Losses, largest_difference, prune_channels, taylor_importance
from utils.errors import UserError

SIZE = (32, 48)
GATED = ["seresnet18", "resnetblur18", "resnet_20", "resnest50_fast_1s1x64d", "googlenet"]
FAMILIES = ["resnet18", "resnext50_32x4d", "mobilenetv3_small", "efficientnet_b0"]


def scaled(arch: str) -> Any:
    torch.manual_seed(0)
    model = build_model(arch, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            # So that hardly any channel is dead behind its ReLU.
            nn.init.uniform_(module.bias, 0.2, 0.5)
    return model


def losses_of(model: nn.Module, *, batches: int = 2) -> Losses:
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(batches, 4, 3, *SIZE, generator=draws)
    targets = torch.randint(5, (batches, 4), generator=draws)

    def losses() -> Iterator[Tensor]:
        for some, labels in zip(images, targets, strict=True):
            yield F.cross_entropy(model(some), labels, reduction="sum")

    return losses


def multiply_adds(model: nn.Module) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *SIZE))
    return counter.get_total_flops() / 2


def groups_of(model: Backbone) -> ChannelGroups:
    return ChannelGroups(model, model.get_classifier(), SIZE)


def random_choice(groups: ChannelGroups) -> list[Tensor]:
    draws = torch.Generator().manual_seed(1)
    return [torch.rand(len(stay), generator=draws) > 0.3 for stay in groups.everything()]


@pytest.mark.parametrize("arch", FAMILIES)
def test_the_share_of_multiply_adds_goes_by_the_count_of_torch_and_widths_rebuild_the_rest(arch: str) -> None:
    model = scaled(arch)
    whole = multiply_adds(model)
    before, after = prune_channels(model, 0.5, image_size=SIZE, importance=taylor_importance(losses_of(model, batches=1)))
    assert before.multiply_adds == pytest.approx(whole)
    assert after.multiply_adds == pytest.approx(multiply_adds(model))
    # A single unit of a grouped convolution is a channel in each of 32 parts.
    assert 0.45 < after.multiply_adds / before.multiply_adds <= 0.5
    rebuilt = build_model(arch, num_classes=5).eval()
    set_widths(rebuilt, read_widths(model))
    rebuilt.load_state_dict(model.state_dict())
    assert largest_difference(model, rebuilt, SIZE) < 1e-5


@pytest.mark.parametrize("arch", [*FAMILIES, *(pytest.param(arch, marks=pytest.mark.slow) for arch in GATED)])
def test_closed_gates_compute_what_the_pruned_network_computes(arch: str) -> None:
    model, images = scaled(arch), torch.randn(2, 3, *SIZE)
    groups = groups_of(model)
    kept = random_choice(groups)
    with torch.no_grad(), masked_units(groups.groups, kept):
        gated_logits = model(images)
    groups.remove(kept)
    with torch.no_grad():
        torch.testing.assert_close(model(images), gated_logits, rtol=1e-3, atol=1e-4)


def test_a_filter_along_the_channels_forbids_to_take_some_out() -> None:
    with pytest.raises(UserError, match="--prune cannot take channels out of this model: its gates"):
        groups_of(build_model("ecaresnet26t", num_classes=5))
    with pytest.raises(UserError, match="--prune cannot take channels out of this model: its classifier reads how pairs"):
        groups_of(build_model("stages(resnet18)", num_classes=5))


def test_the_score_is_the_squared_change_of_the_loss_when_a_channel_is_closed_a_little() -> None:
    model = scaled("resnet18")
    groups = groups_of(model)
    model.double()
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)).double()
    target = torch.tensor([3])
    scores = taylor_importance(lambda: iter([F.cross_entropy(model(image), target)]))(groups, groups.everything())
    names = {module: name for name, module in model.named_modules()}
    # The shared stream of the last stage, written by three norms; and the channels inside one block.
    for root in ("layer4.0.downsample.0", "layer1.0.conv1"):
        writers = [{names[side.layer] for side in group.sides if side.is_output} for group in groups.groups]
        number = next(number for number, found in enumerate(writers) if root in found)
        group = groups.groups[number]
        for unit in (0, 7):

            def loss_at(gate: float, group=group, unit: int = unit) -> float:
                shrunk = copy.deepcopy(model)
                with torch.no_grad():
                    for side in group.norms:
                        norm = shrunk.get_submodule(names[side.layer])
                        norm.weight[unit] *= gate
                        norm.bias[unit] *= gate
                    return float(F.cross_entropy(shrunk(image), target))

            slope = (loss_at(1 + 1e-4) - loss_at(1 - 1e-4)) / 2e-4
            assert float(scores[number][unit]) == pytest.approx(slope**2, rel=1e-3)


def test_a_stream_that_one_block_leaves_alone_is_worth_what_the_others_write() -> None:
    """A norm whose scale is zero, as zero-initialized ones often stay, says nothing about the stream it would write to."""
    model = scaled("resnet18")
    with torch.no_grad():
        for block in (model.layer1[0], model.layer1[1], model.layer2[1], model.layer3[1], model.layer4[1]):
            block.bn2.weight.zero_()
            block.bn2.bias.zero_()
    images = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = model(images).softmax(1)
    prune_channels(model, 0.3, image_size=SIZE, importance=taylor_importance(losses_of(model)))
    # What those blocks compute reaches nothing: their inner channels go, the stream stays.
    assert model.bn1.num_features == 64
    assert model.layer2[1].bn2.num_features == 128
    assert model.layer2[1].bn1.num_features < 0.7 * 128
    with torch.no_grad():
        torch.testing.assert_close(model(images).softmax(1), before, rtol=1e-2, atol=1e-3)


def test_no_layer_loses_more_than_the_limit() -> None:
    model = scaled("resnet18")
    with torch.no_grad():
        for norm in (model.layer3[0].bn1, model.layer1[1].bn1):
            norm.weight.zero_()
            norm.bias.zero_()
    prune_channels(model, 0.6, image_size=SIZE, importance=taylor_importance(losses_of(model)))
    # int(0.9 x 256) and int(0.9 x 64) may go.
    assert model.layer3[0].bn1.num_features == 26
    assert model.layer1[1].bn1.num_features == 7


def test_channels_that_reach_nothing_change_nothing() -> None:
    model = scaled("resnet18")
    with torch.no_grad():
        model.layer1[0].bn1.weight[:8] = 0.0
        model.layer1[0].bn1.bias[:8] = 0.0
    images = torch.randn(2, 3, *SIZE)
    before = model(images).detach()
    prune_channels(model, 0.01, image_size=SIZE, importance=taylor_importance(losses_of(model)))
    assert 56 <= model.layer1[0].conv1.out_channels < 64
    torch.testing.assert_close(model(images), before, rtol=1e-3, atol=1e-4)


def test_what_was_frozen_stays_so() -> None:
    model = scaled("mobilenetv3_small")
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    prune_channels(model, 0.3, image_size=SIZE, importance=taylor_importance(losses_of(model)))
    head = {id(param) for param in model.get_classifier().parameters()}
    assert head
    assert all(param.requires_grad == (id(param) in head) for param in model.parameters())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_an_impossible_share_names_the_flag(share: float) -> None:
    model = build_model("resnet18", num_classes=2)
    with pytest.raises(UserError, match="--prune"):
        prune_channels(model, share, image_size=SIZE, importance=taylor_importance(losses_of(model)))


def test_more_than_the_limit_allows_is_refused_with_what_it_allows() -> None:
    model = scaled("resnet18")
    with pytest.raises(UserError, match=r"at most 0\.9\d of the multiply-adds"):
        prune_channels(model, 0.9999, image_size=SIZE, importance=taylor_importance(losses_of(model)))
