"""Halving without aliasing: blur first, then drop every other pixel (arXiv 1904.11486)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurPool(nn.Module):
    """Halve a map (N, C, H, W), both sides at least 2, with the binomial filter 1-2-1; the border is mirrored."""

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        # Fixed numbers, not learned ones: no file of weights has them.
        self.register_buffer("weight", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.weight.expand(channels, -1, -1, -1), stride=2, groups=channels)
