"""The memory layout follows the network that computes."""

import torch

from applications.assemble import with_layout_of
from models.options import ModelOptions
from utils.runtime import Precision

GPU = torch.device("cuda")
LAST = Precision("bf16", True, "it is fast")


def test_a_network_that_is_slower_with_channels_last_goes_without_and_says_so():
    chosen = with_layout_of("resnest50", LAST, GPU)
    assert chosen.memory_format is torch.contiguous_format
    assert chosen.dtype is torch.bfloat16
    assert str(chosen) == "bf16 (it is fast; resnest50 is slower with channels last)"


def test_the_encoder_decides_for_what_is_built_on_it():
    chosen = with_layout_of(ModelOptions(arch="unet", encoder="resnest50").pretrained_name(), LAST, GPU)
    assert not chosen.channels_last
    assert with_layout_of(ModelOptions(arch="unet").pretrained_name(), LAST, GPU) is LAST


def test_other_networks_and_devices_keep_it():
    assert with_layout_of("resnet50", LAST, GPU) is LAST
    assert with_layout_of("resnest50", LAST, torch.device("mps")) is LAST
