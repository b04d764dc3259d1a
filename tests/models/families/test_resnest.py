"""ResNeSt computes what timm's ResNeSt computes."""

import pytest
import torch

from models import build_model
from models.families.resnest import PUBLISHED, VARIANTS, ResNeSt

SMALL = ("resnest50", "resnest50_fast_1s4x24d", "resnest50_fast_2s2x40d")
NAMED = {"resnest50": "resnest50d", "resnest101": "resnest101e", "resnest200": "resnest200e", "resnest269": "resnest269e"}


def twin(arch, **kwargs):
    """timm's network; of the ablations it names two, and has the parts of all."""
    timm = pytest.importorskip("timm")
    if arch in NAMED:
        return timm.create_model(NAMED[arch], **kwargs)
    splits, width = arch.rpartition("_")[2].rstrip("d").split("x")
    radix, groups = splits.split("s")
    return timm.models.resnet.ResNet(
        timm.models.resnest.ResNestBottleneck,
        (3, 4, 6, 3),
        stem_type="deep",
        stem_width=32,
        avg_down=True,
        base_width=int(width),
        cardinality=int(groups),
        block_args={"radix": int(radix), "avd": True, "avd_first": True},
        **kwargs,
    )


@pytest.mark.parametrize("arch", [arch if arch in SMALL else pytest.param(arch, marks=pytest.mark.slow) for arch in VARIANTS])
def test_timm_weights_give_the_same_maps_and_logits_at_the_same_cost(arch, randomize, assert_parity):
    assert_parity(ResNeSt(arch, num_classes=7), randomize(twin(arch, num_classes=7)))


@pytest.mark.slow
def test_the_difference_to_timm_is_rounding(randomize, assert_parity):
    theirs = randomize(twin("resnest50_fast_4s2x40d", num_classes=7))
    assert_parity(ResNeSt("resnest50_fast_4s2x40d", num_classes=7), theirs, dtype=torch.float64)


@pytest.mark.slow
def test_gradients_in_training_are_those_of_timm(randomize, assert_same_gradients):
    theirs = randomize(twin("resnest50_fast_2s2x40d", num_classes=7))
    ours = ResNeSt("resnest50_fast_2s2x40d", num_classes=7)
    ours.load_state_dict(theirs.state_dict())
    # The gates' batch norms see 4 vectors here, which float32 would magnify into other figures.
    assert_same_gradients(ours.double(), theirs.double())


def test_the_ablations_that_timm_names_are_built_of_the_same_parts():
    timm = pytest.importorskip("timm")
    for arch, named in (("resnest50_fast_1s4x24d", "resnest50d_1s4x24d"), ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d")):
        with torch.device("meta"):
            theirs = timm.create_model(named).state_dict()
            ours = build_model(arch, num_classes=1000).state_dict()
        assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in theirs.items()}


def test_skipped_branches_leave_the_shortcut():
    net = build_model("resnest50_fast_1s1x64d", num_classes=3, drop_path=0.9)
    block = net.layer4[2].train()
    torch.nn.init.ones_(block.bn3.weight)
    x = torch.rand(64, 2048, 1, 1)
    torch.manual_seed(0)
    with torch.no_grad():
        kept = (block(x) != x).flatten(1).any(1)
    assert 0 < kept.sum() < 20


def test_published_sizes_are_those_that_timm_names():
    timm = pytest.importorskip("timm")
    for arch, named in NAMED.items():
        theirs = timm.get_pretrained_cfg(named)
        assert ((3, *PUBLISHED[arch].size), PUBLISHED[arch].interpolation) == (theirs.input_size, theirs.interpolation)
    assert all(len(published.sha256) == 8 for published in PUBLISHED.values())
