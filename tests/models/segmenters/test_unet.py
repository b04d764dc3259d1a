"""U-Net's last step convolves the small map in training, and gives what the large one would."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.fake_quantization import fake_quantize, input_ranges
from models.segmenters.unet import UpBlock, convolved_at_double_size


@pytest.mark.parametrize("size", [(1, 1), (4, 7)])
def test_a_convolution_at_double_size_is_the_one_of_the_enlarged_map(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(2, 5, *size, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(3, 5, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    upstream = torch.randn(2, 3, 2 * size[0], 2 * size[1], dtype=torch.float64, generator=generator)
    wanted = F.conv2d(F.interpolate(small, scale_factor=2, mode="nearest"), weight, padding=1)
    found = convolved_at_double_size(small, weight)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for ours, theirs in zip(*(torch.autograd.grad(each, (small, weight), upstream) for each in (found, wanted)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_a_block_trains_as_it_evaluates() -> None:
    torch.manual_seed(0)
    block, small = UpBlock(6, 0, 4).double().train(), torch.randn(2, 6, 5, 3, dtype=torch.float64)
    trained = block(small, (10, 6), None)
    enlarged = block.conv2(block.conv1(F.interpolate(small, (10, 6), mode="nearest")))
    torch.testing.assert_close(trained, enlarged, rtol=0, atol=1e-10)


def test_other_sizes_and_skips_are_enlarged_as_ever() -> None:
    torch.manual_seed(0)
    block = UpBlock(6, 2, 4).train()
    assert block(torch.randn(2, 6, 5, 3), (9, 6), torch.randn(2, 2, 9, 6)).shape == (2, 4, 9, 6)
    assert UpBlock(6, 0, 4).train()(torch.randn(2, 6, 5, 3), (9, 5), None).shape == (2, 4, 9, 5)


def test_a_layer_that_rounds_is_called_so_that_its_input_rounds_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), Doubled())
    assert fake_quantize(net, (5, 3)) == (3, 0)
    net.train()(torch.randn(2, 3, 5, 3))
    assert not any(value.isnan().any() for value in input_ranges(net).values())


class Doubled(UpBlock):
    """The last step, which has nothing to append."""

    def __init__(self) -> None:
        super().__init__(6, 0, 4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, (2 * x.shape[-2], 2 * x.shape[-1]), None)
