"""The frame of ResNet and its relatives: stem, four stages of blocks, mean, classifier (arXiv 1512.03385)."""

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn

from models.backbone import FeatureInfo
from models.layers.pooled_classifier import PooledClassifier
from models.layers.stem import stem_convolution, stem_pool
from models.layers.stochastic_depth import StochasticDepth, set_rates

PLANES = (64, 128, 256, 512)


class ResidualBlock(nn.Module, ABC):
    """A branch beside a shortcut, (N, C, H, W) -> (N, planes * expansion, H / stride, W / stride).

    The shortcut is computed last: its map takes no memory while the branch is computed.
    """

    expansion: int
    depth: StochasticDepth

    @property
    @abstractmethod
    def last_norm(self) -> nn.BatchNorm2d:
        """The batch norm that ends the branch."""


class BlockBuilder(Protocol):
    """Builds the block of a stage that takes `channels` and has the width `planes`."""

    def __call__(self, channels: int, planes: int, *, stride: int) -> ResidualBlock: ...


class ResidualNet(PooledClassifier):
    """Stem and stages of one kind of block. Maps: the stem at stride 2, then the four stages at 4, 8, 16 and 32.

    Args:
        block: builds a block.
        expansion: channels of a block's output for each of its planes.
        depths: blocks of the four stages.
        stem: widths of the stem's convolutions, see `stem_convolution`.
        learned_pool, blur: how the stem's map is halved, see `stem_pool`.
    """

    def __init__(
        self,
        block: BlockBuilder,
        *,
        expansion: int,
        depths: tuple[int, int, int, int],
        num_classes: int,
        drop_rate: float | None,
        stem: tuple[int, ...] = (64,),
        learned_pool: bool = False,
        blur: bool = False,
    ) -> None:
        super().__init__()
        self.stem_width = stem[-1]
        self.conv1 = stem_convolution(stem)
        self.bn1 = nn.BatchNorm2d(self.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = stem_pool(self.stem_width, learned=learned_pool, blur=blur)
        self.widths = [planes * expansion for planes in PLANES]
        inputs = [self.stem_width, *self.widths]
        self.layer1 = _stage(block, inputs[0], PLANES[0], depth=depths[0], stride=1, out=inputs[1])
        self.layer2 = _stage(block, inputs[1], PLANES[1], depth=depths[1], stride=2, out=inputs[2])
        self.layer3 = _stage(block, inputs[2], PLANES[2], depth=depths[2], stride=2, out=inputs[3])
        self.layer4 = _stage(block, inputs[3], PLANES[3], depth=depths[3], stride=2, out=inputs[4])
        self.add_head(self.widths[-1], num_classes=num_classes, drop_rate=drop_rate or 0.0)
        self._init_weights()

    def _init_weights(self) -> None:
        """He's normal (arXiv 1502.01852); every block starts as its shortcut (arXiv 1706.02677)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, ResidualBlock):
                nn.init.zeros_(module.last_norm.weight)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.stem_width, 2), *(FeatureInfo(width, 4 * 2**i) for i, width in enumerate(self.widths))]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = [self.relu(self.bn1(self.conv1(x)))]
        maps.append(self.layer1(self.maxpool(maps[0])))
        maps.append(self.layer2(maps[1]))
        maps.append(self.layer3(maps[2]))
        maps.append(self.layer4(maps[3]))
        return maps

    def set_drop_path(self, rate: float) -> None:
        """Skip branches by timm's rule for this family: not the first block's, the last one's with `rate`."""
        branches = [block.depth for block in self.modules() if isinstance(block, ResidualBlock)]
        set_rates(branches, rate, parts=len(branches) - 1)


def _stage(block: BlockBuilder, channels: int, planes: int, *, depth: int, stride: int, out: int) -> nn.Sequential:
    first = block(channels, planes, stride=stride)
    return nn.Sequential(first, *(block(out, planes, stride=1) for _ in range(depth - 1)))


def projection(channels: int, out: int, *, stride: int, averaged: bool = False, kernel: int = 1) -> nn.Sequential | None:
    """The shortcut where the shape changes, else None for the identity.

    Args:
        averaged: halve the map by its mean before a convolution of stride 1 (arXiv 1812.01187).
        kernel: of the convolution where the map is halved.
    """
    if stride == 1 and channels == out:
        return None
    norm = nn.BatchNorm2d(out)
    if averaged:
        # The place stays taken where nothing is halved: published names of tensors count on it.
        pool = nn.Identity() if stride == 1 else nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
        return nn.Sequential(pool, nn.Conv2d(channels, out, 1, bias=False), norm)
    kernel = kernel if stride > 1 else 1
    return nn.Sequential(nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), norm)
