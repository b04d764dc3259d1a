"""What each neck computes, against torchvision or the formulas of its paper."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import FeaturePyramidNetwork

from models.necks import build_neck
from models.necks.bifpn import WeightedSum
from tests.models.necks.test_necks_table import INFO, images_maps, settled


def reaches(neck, entering: int, leaving: int) -> bool:
    """Whether a map that comes out depends on one that enters."""
    maps = [each.requires_grad_(i == entering) for i, each in enumerate(images_maps())]
    output = neck(maps)[leaving]
    (grad,) = torch.autograd.grad(output.sum(), maps[entering], allow_unused=True)
    return grad is not None and bool(grad.abs().sum() > 0)


def test_fpn_is_torchvisions():
    theirs = FeaturePyramidNetwork([each.channels for each in INFO], 16).eval()
    ours = build_neck("fpn(channels=16)", INFO).eval()
    state = {name.replace("inner_blocks", "laterals").replace("layer_blocks", "outputs"): x for name, x in theirs.state_dict().items()}
    ours.load_state_dict({name.replace(".0.weight", ".weight").replace(".0.bias", ".bias"): x for name, x in state.items()})
    with torch.inference_mode():
        expected = list(theirs({str(i): each for i, each in enumerate(images_maps())}).values())
        torch.testing.assert_close(ours(images_maps()), expected)


def test_the_inner_fpn_goes_down_through_its_convolutions():
    neck, maps = settled("fpn(channels=16,inner=True)"), images_maps()
    with torch.inference_mode():
        outputs = neck(maps)
        torch.testing.assert_close(outputs[3], neck.laterals[3](maps[3]))
        for level in (2, 1, 0):
            lateral = neck.laterals[level](maps[level])
            large = F.interpolate(outputs[level + 1], size=lateral.shape[-2:])
            torch.testing.assert_close(outputs[level], neck.outputs[2 - level](lateral + large))


@pytest.mark.parametrize("inner", [False, True])
def test_pan_goes_up_for_real(inner):
    assert not reaches(settled(f"fpn(channels=16,inner={inner})"), 0, 3)
    neck = settled(f"pan(channels=16,inner={inner})")
    assert reaches(neck, 0, 3)
    maps = images_maps()
    with torch.inference_mode():
        pyramid, outputs = neck.fpn(maps), neck(maps)
        torch.testing.assert_close(outputs[0], pyramid[0])
        for level in (1, 2, 3):
            below = neck.halvings[level - 1](outputs[level - 1])
            torch.testing.assert_close(outputs[level], neck.outputs[level - 1](pyramid[level] + below))


@pytest.mark.parametrize("weighted", [True, False])
def test_bifpn_is_the_papers_formula_and_cascades(weighted):
    neck = settled(f"bifpn(channels=16,weighted={weighted},separable=False)")
    layer = neck.layers[0]
    for i, join in enumerate(each for each in neck.modules() if isinstance(each, WeightedSum)):
        join.weight.data += torch.linspace(-1.5, 1.0, len(join.weight)) * (1 + i % 2)
    with torch.inference_mode():
        p = [lateral(each) for lateral, each in zip(neck.laterals, images_maps(), strict=True)]

        def up(x, like):
            return F.interpolate(x, size=like.shape[-2:])

        def down(x):
            return F.max_pool2d(x, 3, 2, 1)

        def mean(node, *maps):
            if not weighted:
                return node.conv(sum(maps))
            w = node.join.weight.clamp(min=0)
            return node.conv(sum(a * b for a, b in zip(w, maps, strict=True)) / (w.sum() + 1e-4))

        td2 = mean(layer.downward[0], p[2], up(p[3], p[2]))
        td1 = mean(layer.downward[1], p[1], up(td2, p[1]))
        out0 = mean(layer.downward[2], p[0], up(td1, p[0]))
        out1 = mean(layer.upward[0], p[1], td1, down(out0))
        out2 = mean(layer.upward[1], p[2], td2, down(out1))
        out3 = mean(layer.upward[2], p[3], down(out2))
        torch.testing.assert_close(neck(images_maps()), [out0, out1, out2, out3])


def test_every_map_reaches_every_other_through_bifpn():
    neck = settled("bifpn(channels=16)")
    assert all(reaches(neck, entering, leaving) for entering in range(4) for leaving in range(4))


def test_a_negative_weight_counts_as_none():
    join = WeightedSum(2)
    join.weight.data = torch.tensor([2.0, -3.0])
    torch.testing.assert_close(join([torch.ones(1), torch.full((1,), 9.0)]), torch.tensor([2 / 2.0001]))


def test_semantic_fpn_adds_the_maps_at_the_largest_size():
    neck, maps = settled("semantic_fpn(channels=32,fpn_channels=16)"), images_maps()
    with torch.inference_mode():
        pyramid = neck.fpn(maps)
        total = neck.branches[0](pyramid[0])
        for level in (1, 2, 3):
            x = pyramid[level]
            assert len(neck.branches[level]) == level
            for i, step in enumerate(neck.branches[level]):
                x = F.interpolate(step(x), size=pyramid[level - 1 - i].shape[-2:], mode="bilinear")
            total = total + x
        torch.testing.assert_close(neck(maps), [total])


def test_pools_one_after_the_other_are_the_pools_side_by_side():
    one, other = settled("spp"), settled("sppf")
    other.load_state_dict(one.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(one(images_maps()), other(images_maps()), rtol=0, atol=0)


def test_the_pyramid_keeps_the_unpooled_map_and_looks_5_9_and_13_pixels_wide():
    neck = settled("sppf")
    x = torch.zeros(1, 12, 15, 15)
    x[..., 7, 7] = 1
    widths = [int(pool[0, 0].sum(1).max()) for pool in neck.pools(x)]
    assert widths == [5, 9, 13]
    seen = []
    neck.join.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    maps = images_maps()
    neck(maps)
    torch.testing.assert_close(seen[0][:, :12], neck.reduce(maps[-1]))
