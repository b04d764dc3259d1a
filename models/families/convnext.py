"""ConvNeXt (arXiv 2201.03545) and ConvNeXt V2 (arXiv 2301.00808).

Parameter names are timm's. The weights of 1x1 convolutions are matrices, as in files of linear layers over the channels; those of other
files lose their last two dimensions of 1. Images of any size will do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.image_size import check_least
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.layers.transformer import EPS, init_trunc_normal
from models.published import Published, on_hub

LAYER_SCALE = 1e-6


@dataclass(frozen=True)
class ConvNeXtArch:
    """Width of the first stage, which doubles from stage to stage, and blocks of every stage; V2 normalizes its responses."""

    width: int
    depths: tuple[int, int, int, int]
    v2: bool = False
    drop_path: float = 0.0


_FEW, _MORE, _TINY, _DEEP = (2, 2, 6, 2), (2, 2, 8, 2), (3, 3, 9, 3), (3, 3, 27, 3)

VARIANTS: dict[str, ConvNeXtArch] = {
    "convnext_atto": ConvNeXtArch(40, _FEW),
    "convnext_femto": ConvNeXtArch(48, _FEW),
    "convnext_pico": ConvNeXtArch(64, _FEW),
    "convnext_nano": ConvNeXtArch(80, _MORE),
    "convnext_tiny": ConvNeXtArch(96, _TINY, drop_path=0.1),
    "convnext_small": ConvNeXtArch(96, _DEEP, drop_path=0.4),
    "convnext_base": ConvNeXtArch(128, _DEEP, drop_path=0.5),
    "convnext_large": ConvNeXtArch(192, _DEEP, drop_path=0.5),
    "convnext_xlarge": ConvNeXtArch(256, _DEEP, drop_path=0.2),
    "convnextv2_atto": ConvNeXtArch(40, _FEW, v2=True),
    "convnextv2_femto": ConvNeXtArch(48, _FEW, v2=True),
    "convnextv2_pico": ConvNeXtArch(64, _FEW, v2=True),
    "convnextv2_nano": ConvNeXtArch(80, _MORE, v2=True),
    "convnextv2_tiny": ConvNeXtArch(96, _TINY, v2=True),
    "convnextv2_small": ConvNeXtArch(96, _DEEP, v2=True),
    "convnextv2_base": ConvNeXtArch(128, _DEEP, v2=True),
    "convnextv2_large": ConvNeXtArch(192, _DEEP, v2=True),
    "convnextv2_huge": ConvNeXtArch(352, _DEEP, v2=True),
}


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class Pointwise(nn.Linear):
    """A linear layer over the channels of (N, C, H, W).

    On a CPU in float32 it is computed as a 1x1 convolution, which took half to two thirds of the time of the product of matrices; in 16
    bits the product is the faster one. Graphs of torch.export hold the product, whose weights are constants of the file as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_exporting():
            return F.conv2d(input, self.weight[:, :, None, None], self.bias)
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalization of (N, C, H, W): each channel by its norm over the map, as a part of their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        strength = x.norm(dim=(2, 3), keepdim=True)
        part = strength / (strength.mean(1, keepdim=True) + EPS)
        return x + torch.addcmul(self.bias[:, None, None], self.weight[:, None, None], x * part)


class Mlp(nn.Module):
    """Four times the channels and back, at every place of (N, C, H, W)."""

    def __init__(self, width: int, *, v2: bool) -> None:
        super().__init__()
        self.fc1 = Pointwise(width, 4 * width)
        self.act = nn.GELU()
        self.grn = ResponseNorm(4 * width) if v2 else nn.Identity()
        self.fc2 = Pointwise(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.grn(self.act(self.fc1(x))))


class Block(nn.Module):
    """A 7x7 convolution of every channel, a norm and an MLP, beside a shortcut."""

    def __init__(self, width: int, *, v2: bool) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.mlp = Mlp(width, v2=v2)
        self.gamma = None if v2 else nn.Parameter(torch.full((width,), LAYER_SCALE))
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.mlp(self.norm(self.conv_dw(x)))
        if self.gamma is not None:
            branch = branch * self.gamma[:, None, None]
        # The sum lies in memory as its first part does: behind the norm, channels last.
        return self.depth(branch) + x


class Stage(nn.Module):
    """Blocks of one size, behind a norm and a 2x2 convolution of stride 2 but in the first stage."""

    def __init__(self, arch: ConvNeXtArch, number: int) -> None:
        super().__init__()
        width = arch.width * 2**number
        shrink = nn.Sequential(ChannelNorm(width // 2), nn.Conv2d(width // 2, width, 2, 2))
        self.downsample = shrink if number else nn.Identity()
        self.blocks = nn.Sequential(*(Block(width, v2=arch.v2) for _ in range(arch.depths[number])))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class ConvNeXt(Backbone):
    """A variant of the table. Maps: the four stages, at strides 4, 8, 16 and 32. The head pools, then normalizes."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.name, self.arch = arch, VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        width = 8 * self.arch.width
        self.stem = nn.Sequential(nn.Conv2d(3, self.arch.width, 4, 4), ChannelNorm(self.arch.width))
        self.stages = nn.Sequential(*(Stage(self.arch, number) for number in range(4)))
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(width, eps=EPS), "fc": nn.Linear(width, num_classes)})
        self._init_weights()
        self.set_drop_path(self.arch.drop_path)

    def _init_weights(self) -> None:
        """A narrow normal for all convolutions and linear layers, biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.arch.width * 2**number, 4 * 2**number) for number in range(4)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vector = self.head["norm"](maps[-1].mean((2, 3)))
        return vector if pre_logits else self.get_classifier()(self.dropout(vector))

    def set_drop_path(self, rate: float) -> None:
        """Skip the branch of a block, the first block's never, the last one's with `rate`."""
        set_rates([module.depth for module in self.modules() if isinstance(module, Block)], rate, parts=sum(self.arch.depths) - 1)

    def get_classifier(self) -> nn.Linear:
        layer = self.head["fc"]
        assert isinstance(layer, nn.Linear)
        return layer

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        init_trunc_normal(layer)

    def check_size(self, image_size: tuple[int, int]) -> None:
        check_least(image_size, 32, arch=self.name)

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names of torchvision and of Meta's files become ours, 1x1 convolutions linear layers."""
        found = {}
        for name, tensor in state.items():
            ours = _present_name(name)
            if ours.endswith(("gamma", "grn.weight", "grn.bias")):
                tensor = tensor.flatten()
            elif re.search(r"mlp\.fc[12]\.weight$", ours):
                tensor = tensor.flatten(1)
            found[ours] = tensor
        return found


# Names of Meta's files (the first seven) and of torchvision -> ours.
_RENAMED = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d)\.(\d+)\.dwconv\.", r"stages.\1.blocks.\2.conv_dw."),
    (r"^stages\.(\d)\.(\d+)\.pwconv([12])\.", r"stages.\1.blocks.\2.mlp.fc\3."),
    (r"^stages\.(\d)\.(\d+)\.grn\.", r"stages.\1.blocks.\2.mlp.grn."),
    (r"^stages\.(\d)\.(\d+)\.(norm|gamma)", r"stages.\1.blocks.\2.\3"),
    (r"\.grn\.gamma$", ".grn.weight"),
    (r"\.grn\.beta$", ".grn.bias"),
    (r"^norm\.", "head.norm."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
    (r"^features\.0\.", "stem."),
    (r"^classifier\.0\.", "head.norm."),
    (r"^classifier\.2\.", "head.fc."),
    (r"\.block\.0\.", ".conv_dw."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"\.layer_scale$", ".gamma"),
)


def _present_name(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    # torchvision counts the stem, the stages and what lies between them in one row: features.0 to features.7.
    name = re.sub(r"^features\.([1357])\.", lambda each: f"stages.{int(each[1]) // 2}.blocks.", name)
    return re.sub(r"^features\.([246])\.", lambda each: f"stages.{int(each[1]) // 2}.downsample.", name)


# The release whose weights are taken, and its share of ImageNet's validation images in percent, as timm measured it.
_RELEASES = {
    "convnext_atto": ("d2_in1k", 75.672),
    "convnext_femto": ("d1_in1k", 77.498),
    "convnext_pico": ("d1_in1k", 79.516),
    "convnext_nano": ("in12k_ft_in1k", 82.306),
    "convnext_tiny": ("in12k_ft_in1k", 84.192),
    "convnext_small": ("in12k_ft_in1k", 85.164),
    "convnext_base": ("fb_in22k_ft_in1k", 85.814),
    "convnext_large": ("fb_in22k_ft_in1k", 86.612),
    "convnext_xlarge": ("fb_in22k_ft_in1k", 86.97),
    "convnextv2_atto": ("fcmae_ft_in1k", 76.644),
    "convnextv2_femto": ("fcmae_ft_in1k", 78.476),
    "convnextv2_pico": ("fcmae_ft_in1k", 80.304),
    "convnextv2_nano": ("fcmae_ft_in22k_in1k", 82.038),
    "convnextv2_tiny": ("fcmae_ft_in22k_in1k", 83.904),
    "convnextv2_base": ("fcmae_ft_in22k_in1k", 86.752),
    "convnextv2_large": ("fcmae_ft_in22k_in1k", 87.266),
    "convnextv2_huge": ("fcmae_ft_in22k_in1k_384", 88.666),
}


def _published(arch: str, tag: str, top1: float) -> Published:
    # Meta gives the weights of V2 for research alone.
    terms = "CC-BY-NC-4.0" if VARIANTS[arch].v2 else "Apache-2.0"
    return on_hub(f"{arch}.{tag}", size=384 if tag.endswith("_384") else 224, license=terms, top1=top1)


PUBLISHED: dict[str, Published] = {arch: _published(arch, *release) for arch, release in _RELEASES.items()}
