"""Swin computes what timm's and torchvision's compute."""

import re

import pytest
import torch
import torchvision
from torch import nn

from models.families.swin import PUBLISHED, VARIANTS, Swin, SwinArch
from models.layers.windows import join_windows, relative_index, shift_mask, split_windows
from models.weights import load_state
from tests.models.families.same_as_timm import assert_twins, blurred, count_parameters, stages, their_twin, timm
from utils.errors import UserError

TINY = "swin_tiny_patch4_window7_224"


@pytest.fixture
def small(monkeypatch):
    """Narrow, two blocks a stage, windows of 4 for images of 128 x 128."""
    monkeypatch.setitem(VARIANTS, TINY, SwinArch(24, 1, (2, 2, 2, 2), (4, 4, 4, 4), 128))
    return {"embed_dim": 24, "num_heads": (1, 2, 4, 8), "depths": (2, 2, 2, 2), "window_size": 4}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_timm_weights_give_the_same_logits_maps_and_cost(dtype, small):
    ours, theirs = Swin(TINY, num_classes=7), their_twin(TINY, img_size=(128, 256), **small)
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (128, 256), maps=stages, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_they_do_so_for_every_variant(arch):
    ours, theirs = Swin(arch, num_classes=7), their_twin(arch)
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (VARIANTS[arch].size,) * 2, maps=stages)


def their_torchvision() -> nn.Module:
    theirs = torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=[4, 4], num_classes=7
    )
    nn.init.normal_(theirs.head.weight, std=0.1)
    return blurred(theirs)


@pytest.mark.usefixtures("small")
def test_torchvision_weights_load_and_agree_where_maps_are_padded_to_whole_windows(assert_same_logits):
    theirs = their_torchvision()
    ours = Swin(TINY, num_classes=7)
    report = load_state(ours, theirs.state_dict(), source="torchvision")
    assert (report.loaded, report.missing, report.unexpected) == (report.total, (), ())
    # Maps of 37 x 43, 19 x 22, 10 x 11 and 5 x 6.
    assert_same_logits(ours, theirs, size=(148, 172))


def test_a_window_larger_than_its_map_is_the_map(small):
    theirs = their_twin(TINY, img_size=(64, 96), **small)
    ours = Swin(TINY, num_classes=7)
    state = theirs.state_dict()
    # The last stage is 2 x 3: its tables lie in the middle of those for windows of 4.
    for name, table in state.items():
        if re.match(r"layers\.3.*relative_position_bias_table", name):
            assert len(table) == 15
            whole = torch.randn(7, 7, 8)
            whole[2:5, 1:6] = table.view(3, 5, 8)
            state[name] = whole.flatten(0, 1)
    ours.load_state_dict(ours.remap(state))
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), theirs(x), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("small")
def test_images_of_a_batch_do_not_see_one_another():
    net = blurred(Swin(TINY, num_classes=7))
    x = torch.randn(3, 3, 128, 160)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("small")
def test_microsofts_files_merge_patches_a_stage_earlier():
    net = Swin(TINY, num_classes=7)
    theirs = {
        re.sub(r"layers\.(\d)\.downsample", lambda each: f"layers.{int(each[1]) - 1}.downsample", name).replace("head.fc", "head"): value
        for name, value in net.state_dict().items()
    }
    theirs["layers.0.blocks.1.attn_mask"] = torch.zeros(1)
    theirs["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(1)
    assert {name: value.shape for name, value in net.remap(theirs).items()} == {name: each.shape for name, each in net.state_dict().items()}


def test_windows_are_cut_and_joined():
    x = torch.arange(2 * 4 * 6 * 3).view(2, 4, 6, 3)
    windows = split_windows(x, (2, 3))
    assert windows.shape == (8, 6, 3)
    assert torch.equal(windows[1], x[0, :2, 3:].reshape(6, 3))
    assert torch.equal(join_windows(windows, (2, 3), size=(4, 6)), x)


def test_the_index_of_a_window_depends_on_distances_alone():
    index = relative_index((2, 3), side=4, device=torch.device("cpu"))
    for i in range(6):
        for j in range(6):
            down, right = i // 3 - j // 3, i % 3 - j % 3
            assert index[i, j] == (down + 3) * 7 + right + 3


def test_the_mask_keeps_apart_what_moving_brought_together():
    place = torch.arange(8 * 4).view(1, 8, 4, 1)
    moved = split_windows(torch.roll(place, (-1, -1), (1, 2)), (4, 2))[..., 0]
    mask = shift_mask((8, 4), (4, 2), shift=(1, 1), like=torch.zeros(1))
    for window, seen in zip(moved, mask, strict=True):
        rows, columns = window // 4, window % 4
        near = ((rows[:, None] - rows).abs() < 4) & ((columns[:, None] - columns).abs() < 2)
        assert torch.equal(seen == 0, near)


@pytest.mark.usefixtures("small")
def test_an_image_below_a_patch_is_refused():
    with pytest.raises(UserError, match="does not take images of 3 x 9 pixels; they need 4 at least"):
        Swin(TINY, num_classes=3).check_size((3, 9))


def test_published_files_are_the_ones_timm_names():
    for arch, published in PUBLISHED.items():
        theirs = timm.get_pretrained_cfg(arch)
        assert published.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.license.lower() == theirs.license
