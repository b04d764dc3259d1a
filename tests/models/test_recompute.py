"""Gradient checkpointing changes what is kept, and nothing else."""

import copy
import pickle

import pytest
import torch
from torch import nn

from models import build_model
from models.recompute import find_blocks, recompute_blocks
from utils.errors import UserError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return x + self.dropout(torch.relu(self.norm(self.conv(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList([nn.Sequential(Block(), Block()), nn.Sequential(Block())])
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean((2, 3)))


def twins():
    torch.manual_seed(0)
    plain = Net()
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == 3
    return plain, saving


def step(net):
    """One training step's gradients, and the bytes that were kept for its backward pass."""
    kept = 0

    def count(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    net.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = net(torch.randn(4, 3, 16, 16)).square().mean()
    loss.backward()
    return [each.grad.clone() for each in net.parameters()], kept


def test_gradients_draws_and_statistics_are_those_of_the_plain_network():
    plain, saving = twins()
    for _ in range(2):
        expected, found = step(plain)[0], step(saving)[0]
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), saving.state_dict().values(), strict=True))
    assert int(saving.stages[0][0].norm.num_batches_tracked) == 2


def test_less_is_kept():
    plain, saving = twins()
    assert step(saving)[1] < 0.6 * step(plain)[1]


def test_names_stay_and_a_copy_computes_with_its_own_weights():
    plain, saving = twins()
    assert list(saving.state_dict()) == list(plain.state_dict())
    assert isinstance(saving.stages[0][0], Block)
    twin = copy.deepcopy(saving)
    for parameter in twin.parameters():
        parameter.data.zero_()
    assert twin(torch.randn(2, 3, 8, 8)).abs().sum() == 0


def test_evaluation_computes_nothing_twice():
    _, saving = twins()
    calls = []
    saving.stages[0][0].conv.register_forward_hook(lambda *_: calls.append(1))
    saving.eval()
    saving(torch.randn(2, 3, 8, 8)).sum().backward()
    assert len(calls) == 1
    saving.train()
    saving(torch.randn(2, 3, 8, 8)).sum().backward()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("arch", "kinds", "number"),
    [
        ("resnet18", {"BasicBlock"}, 8),
        ("mobilenetv3_small", {"InvertedResidual"}, 11),
        ("efficientnet_b0", {"InvertedResidual", "SeparableBlock"}, 16),
        ("vit_tiny_patch16_224", {"Block"}, 12),
        ("cait_xxs24_224", {"Block", "ClassBlock"}, 26),
        ("swin_tiny_patch4_window7_224", {"Block"}, 12),
        ("convnext_tiny", {"Block"}, 18),
        ("timm/resnet18", {"BasicBlock"}, 8),
        ("torchvision/densenet121", {"_DenseBlock"}, 4),
    ],
)
def test_the_blocks_of_a_network_are_found(arch, kinds, number):
    with torch.device("meta"):
        blocks = find_blocks(build_model(arch, num_classes=3))
    assert {type(block).__name__ for block in blocks} == kinds
    assert len(blocks) == number


def test_a_network_without_blocks_is_refused():
    with torch.device("meta"):
        net = build_model("torchvision/vgg11", num_classes=3)
    with pytest.raises(UserError, match="--checkpointing: this network has no row of blocks"):
        recompute_blocks(net)


@pytest.mark.slow
def test_a_compiled_network_counts_its_batches_once_too():
    plain, saving = twins()
    for net in (plain, saving):
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    saving.compile(backend="aot_eager")
    for expected, found in zip(step(plain)[0], step(saving)[0], strict=True):
        torch.testing.assert_close(found, expected)
    for expected, found in zip(plain.buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


class Shifted(Block):
    def forward(self, x, shift=None):
        return super().forward(x if shift is None else x + shift)


class ByName(Net):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([Shifted(), Shifted()])
        self.shift = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        for block in self.stages:
            x = block(x, shift=self.shift)
        return self.head(x.mean((2, 3)))


def test_blocks_take_what_is_passed_to_them_by_name():
    torch.manual_seed(0)
    plain = ByName()
    saving = copy.deepcopy(plain)
    assert recompute_blocks(saving) == 2
    step(plain)
    step(saving)
    assert plain.shift.grad is not None
    torch.testing.assert_close(saving.shift.grad, plain.shift.grad)
    with torch.no_grad():
        torch.testing.assert_close(saving.eval()(torch.ones(1, 3, 8, 8)), plain.eval()(torch.ones(1, 3, 8, 8)))


def test_a_network_with_blocks_that_are_computed_again_can_be_pickled():
    _, saving = twins()
    again = pickle.loads(pickle.dumps(saving))
    assert [type(block) for block in find_blocks(again)] == [type(block) for block in find_blocks(saving)]
    _, kept = step(again)
    assert kept == step(saving)[1]
