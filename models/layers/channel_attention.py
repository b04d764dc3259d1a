"""Gates for channels, from the mean of each: squeeze-and-excitation (arXiv 1709.01507), and ECA (arXiv 1910.03151)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.make_divisible import make_divisible
from models.layers.squeeze_excite import squeeze_excite


class SqueezeExcite(nn.Module):
    """Two 1x1 convolutions with a sigmoid gate; the hidden one has `ratio` of the channels, a multiple of 8."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = make_divisible(channels * ratio)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excite(x, self.fc1, expand=self.fc2, act=F.relu, gate=torch.sigmoid)


class EfficientChannelAttention(nn.Module):
    """One small filter along the row of channels, with a sigmoid gate; its width grows with the logarithm of their number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        nearest = int(abs(math.log2(channels) + 1) / 2)
        kernel = max(nearest | 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        gates = torch.sigmoid(self.conv(means[:, None]))
        return x * gates.transpose(1, 2)[..., None]
