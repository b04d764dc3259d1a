"""CaiT computes what timm's computes."""

from dataclasses import replace

import pytest
import torch

from models import build_model
from models.families.cait import PUBLISHED, VARIANTS, Block, CaiT
from models.layers.position_embedding import resize_positions
from tests.models.families.same_as_timm import assert_twins, count_parameters, quarters, their_twin, timm

SMALL = "cait_xxs24_224"


@pytest.fixture
def shallow(monkeypatch):
    """Four blocks instead of twenty-four."""
    monkeypatch.setitem(VARIANTS, SMALL, replace(VARIANTS[SMALL], depth=4))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_timm_weights_give_the_same_logits_maps_and_cost(dtype):
    ours, theirs = CaiT(SMALL, num_classes=7, image_size=(32, 48)), their_twin(SMALL, img_size=(32, 48), depth=4)
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (32, 48), maps=quarters, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("arch", VARIANTS)
def test_they_do_so_for_every_variant(arch):
    ours, theirs = CaiT(arch, num_classes=7, image_size=(32, 48)), their_twin(arch, img_size=(32, 48))
    assert count_parameters(ours) == count_parameters(theirs)
    assert_twins(ours, theirs, (32, 48), maps=quarters)


@pytest.mark.usefixtures("shallow")
def test_images_of_another_size_see_resampled_positions(assert_same_logits):
    net, wide = CaiT(SMALL, num_classes=7), CaiT(SMALL, num_classes=7, image_size=(64, 32))
    state = net.state_dict()
    assert wide.remap(state)["pos_embed"].shape == (1, 8, 192)
    state["pos_embed"] = resize_positions(state["pos_embed"], (14, 14), wanted=(4, 2))
    wide.load_state_dict(state)
    assert_same_logits(net, wide, size=(64, 32))


@pytest.mark.usefixtures("shallow")
def test_the_last_map_alone_decides_the_logits():
    net = CaiT(SMALL, num_classes=7).eval()
    maps = net.forward_features(torch.randn(2, 3, 32, 48))
    torch.testing.assert_close(net.forward_head([maps[-1]]), net.forward_head(maps))


@pytest.mark.usefixtures("shallow")
def test_every_block_of_self_attention_is_skipped_as_often():
    net = build_model(SMALL, num_classes=3, drop_path=0.2)
    assert [block.depth.rate for block in net.modules() if isinstance(block, Block)] == [0.2] * 4 + [0.0] * 2


def test_published_files_are_the_ones_timm_names():
    for arch, published in PUBLISHED.items():
        theirs = timm.get_pretrained_cfg(arch)
        assert published.url == f"https://huggingface.co/{theirs.hf_hub_id}/resolve/main/model.safetensors"
        assert (3, *published.size) == theirs.input_size
        assert (published.mean, published.std, published.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
        assert published.license.lower() == theirs.license
