"""Swin Transformer (arXiv 2103.14030) and its searched variants S3 (arXiv 2111.14725).

Parameter names are timm's, so its published weights load as they are. Images of any size will do: maps are padded to whole
windows at the right and below, and a window is never larger than its map; it then uses the middle of its table of positions.
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
from models.layers.transformer import Mlp, init_trunc_normal, merge_heads, split_heads
from models.layers.windows import join_windows, relative_index, shift_mask, split_windows
from models.published import Published, on_hub

PATCH = 4


@dataclass(frozen=True)
class SwinArch:
    """Width and heads of the first stage, which double from stage to stage; blocks and side of the windows of every stage.

    `size` is the side of the published images in pixels.
    """

    width: int
    heads: int
    depths: tuple[int, int, int, int]
    windows: tuple[int, int, int, int] = (7, 7, 7, 7)
    size: int = 224
    drop_path: float = 0.1


VARIANTS: dict[str, SwinArch] = {
    "swin_tiny_patch4_window7_224": SwinArch(96, 3, (2, 2, 6, 2), drop_path=0.2),
    "swin_small_patch4_window7_224": SwinArch(96, 3, (2, 2, 18, 2), drop_path=0.3),
    "swin_base_patch4_window7_224": SwinArch(128, 4, (2, 2, 18, 2), drop_path=0.5),
    "swin_base_patch4_window12_384": SwinArch(128, 4, (2, 2, 18, 2), (12, 12, 12, 12), 384, drop_path=0.5),
    "swin_large_patch4_window7_224": SwinArch(192, 6, (2, 2, 18, 2), drop_path=0.2),
    "swin_large_patch4_window12_384": SwinArch(192, 6, (2, 2, 18, 2), (12, 12, 12, 12), 384, drop_path=0.2),
    "swin_s3_tiny_224": SwinArch(96, 3, (2, 2, 6, 2), (7, 7, 14, 7)),
    "swin_s3_small_224": SwinArch(96, 3, (2, 2, 18, 2), (14, 14, 14, 7)),
    "swin_s3_base_224": SwinArch(96, 3, (2, 2, 30, 2), (7, 7, 14, 7)),
}


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a learned bias for every relative position."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, window: tuple[int, int], mask: Tensor | None) -> Tensor:
        """Windows (N x windows, h x w, C) -> the same; `mask` (windows, h w, h w) is added to what their tokens see of one another."""
        q, k, v = split_heads(self.qkv(x), 3, heads=self.heads)
        index = relative_index(window, side=self.side, device=x.device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        seen = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
        if mask is not None:
            seen = (seen.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        return self.proj(merge_heads(seen.softmax(-1) @ v))


class Block(nn.Module):
    """Attention in windows, every other time in windows moved by half their side, and an MLP; maps are (N, h, w, C)."""

    def __init__(self, width: int, heads: int, *, side: int, shifted: bool) -> None:
        super().__init__()
        self.side, self.shifted = side, shifted
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, side)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depth(self._attend(self.norm1(x)))
        return x + self.depth(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = min(self.side, height), min(self.side, width)
        # Where one window is the whole map, there is nothing to move.
        shift = tuple(each // 2 if self.shifted and each < side else 0 for each, side in zip(window, (height, width), strict=True))
        x = F.pad(x, (0, 0, 0, -width % window[1], 0, -height % window[0]))
        padded = x.shape[1], x.shape[2]
        mask = None
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
            mask = shift_mask(padded, window, shift=shift, like=x)
        x = join_windows(self.attn(split_windows(x, window), window, mask), window, size=padded)
        if any(shift):
            x = torch.roll(x, shift, (1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Half the size, twice the channels: 2 x 2 places of (N, h, w, C) become one of (N, h / 2, w / 2, 2 C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        # Down before right, as the published weights have it.
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(self.norm(x))


class Stage(nn.Module):
    """Blocks of one size, behind a merging of patches but in the first stage."""

    def __init__(self, arch: SwinArch, number: int) -> None:
        super().__init__()
        width, heads = arch.width * 2**number, arch.heads * 2**number
        self.downsample = PatchMerging(width // 2) if number else nn.Identity()
        side = arch.windows[number]
        self.blocks = nn.Sequential(*(Block(width, heads, side=side, shifted=bool(index % 2)) for index in range(arch.depths[number])))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class PatchEmbed(nn.Module):
    """A convolution that sees every patch once, and a norm: (N, 3, H, W) -> (N, H / 4, W / 4, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Swin(Backbone):
    """A variant of the table. Maps: the four stages, at strides 4, 8, 16 and 32; the last one has gone through the final norm."""

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None) -> None:
        super().__init__()
        self.name, self.arch = arch, VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        self.patch_embed = PatchEmbed(self.arch.width)
        self.layers = nn.Sequential(*(Stage(self.arch, number) for number in range(4)))
        self.norm = nn.LayerNorm(8 * self.arch.width)
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.head = nn.ModuleDict({"fc": nn.Linear(8 * self.arch.width, num_classes)})
        init_trunc_normal(self)
        self.set_drop_path(self.arch.drop_path)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.arch.width * 2**number, PATCH * 2**number) for number in range(4)]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        maps = []
        for stage in self.layers:
            x = stage(x)
            maps.append(x)
        maps[-1] = self.norm(x)
        return [each.permute(0, 3, 1, 2) for each in maps]

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        vector = maps[-1].mean((2, 3))
        return vector if pre_logits else self.get_classifier()(self.dropout(vector))

    def set_drop_path(self, rate: float) -> None:
        """Skip both branches of a block, the first block's never, the last one's with `rate`."""
        set_rates([block.depth for block in self._blocks()], rate, parts=sum(self.arch.depths) - 1)

    def _blocks(self) -> list[Block]:
        return [module for module in self.modules() if isinstance(module, Block)]

    def get_classifier(self) -> nn.Linear:
        layer = self.head["fc"]
        assert isinstance(layer, nn.Linear)
        return layer

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        init_trunc_normal(layer)

    def check_size(self, image_size: tuple[int, int]) -> None:
        check_least(image_size, PATCH, arch=self.name)

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"*relative_position_bias_table"})

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names of torchvision and of Microsoft's files become ours; indices and masks, which are computed here, are left out."""
        found = dict(state)
        if "features.0.0.weight" in found:
            found = {_from_torchvision(name): tensor for name, tensor in found.items()}
        # Microsoft's files merge patches at the end of a stage; timm, as here, at the beginning of the next.
        early = "layers.0.downsample.reduction.weight" in found
        named = {}
        for name, tensor in found.items():
            if name.endswith(("relative_position_index", "attn_mask")):
                continue
            ours = re.sub(r"^layers\.(\d)\.downsample", lambda each: f"layers.{int(each[1]) + 1}.downsample", name) if early else name
            named[re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", ours)] = tensor
        return named


# torchvision counts the embedding, the stages and the mergings between them in one row: features.0 to features.7.
_TORCHVISION = (
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)


def _from_torchvision(name: str) -> str:
    for pattern, ours in _TORCHVISION:
        name = re.sub(pattern, ours, name)
    name = re.sub(r"^features\.([1357])\.", lambda each: f"layers.{int(each[1]) // 2}.blocks.", name)
    return re.sub(r"^features\.([246])\.", lambda each: f"layers.{int(each[1]) // 2}.downsample.", name)


# The release whose weights are taken, and its share of ImageNet's validation images in percent, as timm measured it.
_RELEASES = {
    "swin_tiny_patch4_window7_224": ("ms_in1k", 81.388),
    "swin_small_patch4_window7_224": ("ms_in22k_ft_in1k", 83.33),
    "swin_base_patch4_window7_224": ("ms_in22k_ft_in1k", 85.276),
    "swin_base_patch4_window12_384": ("ms_in22k_ft_in1k", 86.442),
    "swin_large_patch4_window7_224": ("ms_in22k_ft_in1k", 86.32),
    "swin_large_patch4_window12_384": ("ms_in22k_ft_in1k", 87.142),
    "swin_s3_tiny_224": ("ms_in1k", 82.128),
    "swin_s3_small_224": ("ms_in1k", 83.778),
    "swin_s3_base_224": ("ms_in1k", 83.92),
}

PUBLISHED: dict[str, Published] = {
    arch: on_hub(f"{arch}.{tag}", size=VARIANTS[arch].size, license="MIT", top1=top1) for arch, (tag, top1) in _RELEASES.items()
}
