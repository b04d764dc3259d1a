"""Split attention: several filters look at each group of channels, and a gate weighs them (arXiv 2004.08955)."""

import torch
from torch import Tensor, nn

LEAST_HIDDEN = 32


class SplitAttention(nn.Module):
    """A 3x3 convolution (N, C, H, W) -> (N, C, H / stride, W / stride) of `radix` splits, weighed by their common mean.

    Args:
        channels: C, a multiple of `groups`.
        groups: the cardinality of ResNeXt.
        radix: splits in each group; with one, the gate is a sigmoid, else a softmax over the splits.
    """

    def __init__(self, channels: int, *, stride: int, groups: int, radix: int) -> None:
        super().__init__()
        self.groups, self.radix = groups, radix
        hidden = max(channels * radix // 4, LEAST_HIDDEN)
        self.conv = nn.Conv2d(channels, channels * radix, 3, stride, 1, groups=groups * radix, bias=False)
        self.bn0 = nn.BatchNorm2d(channels * radix)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=groups)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, channels * radix, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn0(self.conv(x)))
        if self.radix == 1:
            return x * torch.sigmoid(self._scores(x.mean((2, 3), keepdim=True)))
        # The splits stand one after the other: (N, radix, C, H, W).
        splits = x.unflatten(1, (self.radix, -1))
        scores = self._scores(splits.sum(1).mean((2, 3), keepdim=True))
        # Inside a group, the scores of one split follow those of the one before: (N, groups, radix, C / groups).
        gates = scores.flatten(1).unflatten(1, (self.groups, self.radix, -1)).softmax(2).transpose(1, 2).flatten(2)
        return (splits * gates[..., None, None]).sum(1)

    def _scores(self, means: Tensor) -> Tensor:
        return self.fc2(self.relu(self.bn1(self.fc1(means))))
