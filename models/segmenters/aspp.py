"""Atrous spatial pyramid pooling (arXiv 1706.05587): one map at several rates of dilation, and its mean over the image."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.segmenters.decoder import PooledNorm, conv_norm_relu, resize, separable_conv_norm_relu, size_of

# Rates by the stride of the map: they reach equally far in the image.
RATES: Mapping[int, tuple[int, int, int]] = {8: (12, 24, 36), 16: (6, 12, 18)}
WIDTH = 256


class ASPP(nn.Module):
    """A 1x1 convolution, three dilated ones and the mean, put together by a 1x1 convolution.

    Args:
        channels: of the map.
        rates: of the dilated convolutions.
        separable: whether these are separable, as in DeepLabV3+ (arXiv 1802.02611).
        drop_rate: behind the last convolution.
    """

    def __init__(self, channels: int, rates: tuple[int, ...], *, separable: bool, drop_rate: float) -> None:
        super().__init__()
        if separable:
            dilated = [separable_conv_norm_relu(channels, WIDTH, dilation=rate) for rate in rates]
        else:
            dilated = [conv_norm_relu(channels, WIDTH, kernel=3, dilation=rate) for rate in rates]
        self.convs = nn.ModuleList([conv_norm_relu(channels, WIDTH), *dilated])
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, WIDTH, 1, bias=False), PooledNorm(WIDTH), nn.ReLU(inplace=True)
        )
        self.project = nn.Sequential(conv_norm_relu((len(rates) + 2) * WIDTH, WIDTH), nn.Dropout(drop_rate))

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(x) for conv in self.convs]
        return self.project(torch.cat([*parts, resize(self.pooled(x), size_of(x))], dim=1))
