"""Vision transformers: ViT (arXiv 2010.11929), AugReg (2106.10270), DeiT (2012.12877), DeiT III (2204.07118), SigLIP (2303.15343).

Parameter names are timm's, so its published weights load as they are. Images of any size that is a multiple of the patch will do:
the position embeddings are those of the published size, and are resampled where images have another. A DeiT with a
distillation token has one classifier that reads both tokens; its logits are the mean of the two that were published.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.image_size import check_multiple
from models.layers.position_embedding import resize_positions, resized_in_file
from models.layers.stochastic_depth import StochasticDepth, set_rates
from models.layers.transformer import EPS, Attention, Mlp, PatchEmbed, init_trunc_normal, merge_heads, split_heads
from models.maps.layout import Layout, tap_blocks, to_map, tokens_of, with_last
from models.published import HALF, IMAGENET_MEAN, IMAGENET_STD, Published, on_hub


@dataclass(frozen=True)
class ViTArch:
    """The patch and the shape of the tokens, and where the families differ.

    `size` is the side of the published images in pixels; `pool` is what the classifier reads; `position_of_tokens` says whether
    class and distillation tokens have a position embedding; `hidden` is the width of the MLP, four times the tokens' by default.
    """

    patch: int
    width: int
    depth: int
    heads: int
    size: int = 224
    pool: Literal["token", "mean", "attention"] = "token"
    distilled: bool = False
    position_of_tokens: bool = True
    qkv_bias: bool = True
    layer_scale: float | None = None
    hidden: int | None = None
    gelu_tanh: bool = False
    drop_path: float = 0.0

    @property
    def prefix(self) -> int:
        """Number of tokens that stand for no patch."""
        return (1 + self.distilled) if self.pool == "token" else 0


_Tiny = partial(ViTArch, width=192, depth=12, heads=3)
_Small = partial(ViTArch, width=384, depth=12, heads=6)
_Medium = partial(ViTArch, width=512, depth=12, heads=8)
_Base = partial(ViTArch, width=768, depth=12, heads=12)
_Large = partial(ViTArch, width=1024, depth=24, heads=16)
_Huge = partial(ViTArch, width=1280, depth=32, heads=16)
_So400m = partial(ViTArch, width=1152, depth=27, heads=16, hidden=4304)
# Mean pooling, as timm's own networks of medium size have it.
_GAP = {"pool": "mean", "qkv_bias": False, "layer_scale": 1e-6}
_DEIT3 = {"position_of_tokens": False, "layer_scale": 1e-6}

VARIANTS: dict[str, ViTArch] = {
    "vit_tiny_patch16_224": _Tiny(16),
    "vit_tiny_patch16_384": _Tiny(16, size=384),
    "vit_small_patch32_224": _Small(32),
    "vit_small_patch32_384": _Small(32, size=384),
    "vit_small_patch16_224": _Small(16),
    "vit_small_patch16_384": _Small(16, size=384),
    "vit_small_patch8_224": _Small(8),
    "vit_medium_patch16_gap_240": _Medium(16, size=240, **_GAP),
    "vit_medium_patch16_gap_256": _Medium(16, size=256, **_GAP),
    "vit_medium_patch16_gap_384": _Medium(16, size=384, **_GAP),
    "vit_base_patch32_224": _Base(32),
    "vit_base_patch32_384": _Base(32, size=384),
    "vit_base_patch16_224": _Base(16),
    "vit_base_patch16_384": _Base(16, size=384),
    "vit_base_patch8_224": _Base(8),
    "vit_large_patch32_224": _Large(32),
    "vit_large_patch32_384": _Large(32, size=384),
    "vit_large_patch16_224": _Large(16),
    "vit_large_patch16_384": _Large(16, size=384),
    "vit_huge_patch14_224": _Huge(14),
    "vit_base_patch32_siglip_256": _Base(32, size=256, pool="attention", gelu_tanh=True),
    "vit_base_patch16_siglip_224": _Base(16, pool="attention"),
    "vit_base_patch16_siglip_256": _Base(16, size=256, pool="attention"),
    "vit_base_patch16_siglip_384": _Base(16, size=384, pool="attention"),
    "vit_base_patch16_siglip_512": _Base(16, size=512, pool="attention"),
    "vit_large_patch16_siglip_256": _Large(16, size=256, pool="attention"),
    "vit_large_patch16_siglip_384": _Large(16, size=384, pool="attention"),
    "vit_large_patch16_siglip_512": _Large(16, size=512, pool="attention", gelu_tanh=True),
    "vit_so400m_patch14_siglip_224": _So400m(14, pool="attention"),
    "vit_so400m_patch14_siglip_378": _So400m(14, size=378, pool="attention"),
    "vit_so400m_patch14_siglip_384": _So400m(14, size=384, pool="attention"),
    "vit_so400m_patch16_siglip_256": _So400m(16, size=256, pool="attention", gelu_tanh=True),
    "vit_so400m_patch16_siglip_384": _So400m(16, size=384, pool="attention", gelu_tanh=True),
    "vit_so400m_patch16_siglip_512": _So400m(16, size=512, pool="attention", gelu_tanh=True),
    "deit_tiny_patch16_224": _Tiny(16, drop_path=0.1),
    "deit_small_patch16_224": _Small(16, drop_path=0.1),
    "deit_base_patch16_224": _Base(16, drop_path=0.1),
    "deit_base_patch16_384": _Base(16, size=384, drop_path=0.1),
    "deit_tiny_distilled_patch16_224": _Tiny(16, distilled=True, drop_path=0.1),
    "deit_small_distilled_patch16_224": _Small(16, distilled=True, drop_path=0.1),
    "deit_base_distilled_patch16_224": _Base(16, distilled=True, drop_path=0.1),
    "deit_base_distilled_patch16_384": _Base(16, size=384, distilled=True, drop_path=0.1),
    "deit3_small_patch16_224": _Small(16, **_DEIT3),
    "deit3_small_patch16_384": _Small(16, size=384, **_DEIT3),
    "deit3_medium_patch16_224": _Medium(16, **_DEIT3),
    "deit3_base_patch16_224": _Base(16, **_DEIT3),
    "deit3_base_patch16_384": _Base(16, size=384, **_DEIT3),
    "deit3_large_patch16_224": _Large(16, **_DEIT3),
    "deit3_large_patch16_384": _Large(16, size=384, **_DEIT3),
    "deit3_huge_patch14_224": _Huge(14, **_DEIT3),
}


class LayerScale(nn.Module):
    """A learned factor for each channel of a branch (arXiv 2103.17239)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Attention and an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(arch.width, eps=EPS)
        self.attn = Attention(arch.width, arch.heads, bias=arch.qkv_bias)
        self.ls1 = nn.Identity() if arch.layer_scale is None else LayerScale(arch.width, arch.layer_scale)
        self.norm2 = nn.LayerNorm(arch.width, eps=EPS)
        self.mlp = _mlp(arch)
        self.ls2 = nn.Identity() if arch.layer_scale is None else LayerScale(arch.width, arch.layer_scale)
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depth(self.ls1(self.attn(self.norm1(x))))
        return x + self.depth(self.ls2(self.mlp(self.norm2(x))))


class AttentionPool(nn.Module):
    """One learned query looks at all tokens (N, L, C), then an MLP: (N, C). The head of SigLIP."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.heads = arch.heads
        self.latent = nn.Parameter(torch.empty(1, 1, arch.width))
        nn.init.trunc_normal_(self.latent, std=arch.width**-0.5)
        self.q = nn.Linear(arch.width, arch.width)
        self.kv = nn.Linear(arch.width, 2 * arch.width)
        self.proj = nn.Linear(arch.width, arch.width)
        self.norm = nn.LayerNorm(arch.width, eps=EPS)
        self.mlp = _mlp(arch)

    def forward(self, x: Tensor) -> Tensor:
        (q,) = split_heads(self.q(self.latent.expand(x.shape[0], -1, -1)), 1, heads=self.heads)
        k, v = split_heads(self.kv(x), 2, heads=self.heads)
        x = self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return (x + self.mlp(self.norm(x)))[:, 0]


def _mlp(arch: ViTArch) -> Mlp:
    act = partial(nn.GELU, approximate="tanh") if arch.gelu_tanh else nn.GELU
    return Mlp(arch.width, arch.hidden or 4 * arch.width, act)


class VisionTransformer(Backbone):
    """A variant of the table. Maps: four, after each quarter of the blocks, all at the stride of the patch.

    The last map has gone through the final norm, and the head reads it. Class and distillation tokens lie beside it
    (`FeatureMaps.prefix`); where they alone make the logits, the map itself does not change them.

    Args:
        arch: a name of the table.
        num_classes: width of the classifier.
        drop_rate: dropout before the classifier.
        image_size: (height, width) whose grid of patches has the position embeddings; the published one by default.
    """

    def __init__(self, arch: str, *, num_classes: int, drop_rate: float | None = None, image_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.name, self.arch = arch, VARIANTS[arch]
        self.num_classes = checked_width(num_classes)
        width, patch = self.arch.width, self.arch.patch
        height, breadth = image_size or (self.arch.size, self.arch.size)
        self.grid = (height // patch, breadth // patch)
        prefix = self.arch.prefix
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if prefix else None
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width)) if self.arch.distilled else None
        # How many of the position embeddings belong to those tokens.
        self.placed = prefix if self.arch.position_of_tokens else 0
        self.pos_embed = nn.Parameter(torch.zeros(1, self.placed + self.grid[0] * self.grid[1], width))
        self.patch_embed = PatchEmbed(patch, width)
        self.blocks = nn.Sequential(*(Block(self.arch) for _ in range(self.arch.depth)))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.attn_pool = AttentionPool(self.arch) if self.arch.pool == "attention" else None
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.head = nn.Linear(width * max(prefix, 1), num_classes)
        self._init_weights()
        self.set_drop_path(self.arch.drop_path)

    def _init_weights(self) -> None:
        init_trunc_normal(self)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for token in (self.cls_token, self.dist_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.arch.width, self.arch.patch)] * 4

    def _embed(self, x: Tensor) -> Tensor:
        """Tokens (N, prefix + patches, C) with their positions."""
        positions = resize_positions(self.pos_embed[:, self.placed :], self.grid, wanted=self._grid(x))
        tokens = self.patch_embed(x) + positions
        if self.cls_token is None:
            return tokens
        prefix = self.cls_token if self.dist_token is None else torch.cat([self.cls_token, self.dist_token], dim=1)
        if self.placed:
            prefix = prefix + self.pos_embed[:, : self.placed]
        return torch.cat([prefix.expand(x.shape[0], -1, -1), tokens], dim=1)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        return x.shape[-2] // self.arch.patch, x.shape[-1] // self.arch.patch

    def forward_features(self, x: Tensor) -> list[Tensor]:
        layout, grid = Layout("NLC", self.arch.prefix), self._grid(x)
        *earlier, last = tap_blocks(self.blocks, self._embed(x), parts=4)
        return with_last([to_map(each, layout, grid=grid) for each in earlier], self.norm(last), layout=layout, grid=grid)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        return self._answer(tokens_of(maps, prefix=self.arch.prefix), pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self._answer(self.norm(self.blocks(self._embed(x))))

    def _answer(self, tokens: Tensor, *, pre_logits: bool = False) -> Tensor:
        if self.attn_pool is not None:
            vector = self.attn_pool(tokens)
        else:
            vector = tokens.mean(1) if self.arch.pool == "mean" else tokens[:, : self.arch.prefix].flatten(1)
        return vector if pre_logits else self.head(self.dropout(vector))

    def set_drop_path(self, rate: float) -> None:
        """Skip both branches of a block by the rule of DeiT: not the first block's, the last one's with `rate`."""
        set_rates([block.depth for block in self.modules() if isinstance(block, Block)], rate, parts=self.arch.depth - 1)

    def get_classifier(self) -> nn.Linear:
        return self.head

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        init_trunc_normal(layer)

    def check_size(self, image_size: tuple[int, int]) -> None:
        check_multiple(image_size, self.arch.patch, arch=self.name)

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"pos_embed", "cls_token", "dist_token"})

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names of torchvision and of DeiT's files become ours, two classifiers one, and position embeddings fit the grid."""
        found = {_present_name(name): tensor for name, tensor in state.items()}
        if "head_dist.weight" in found and self.arch.distilled:
            for kind in ("weight", "bias"):
                parts = [found[f"head.{kind}"], found.pop(f"head_dist.{kind}")]
                found[f"head.{kind}"] = torch.cat(parts, dim=1) / 2 if kind == "weight" else (parts[0] + parts[1]) / 2
        if "pos_embed" in found:
            found["pos_embed"] = resized_in_file(found["pos_embed"], prefix=self.placed, grid=self.grid)
        return found


# Names of DeiT III's own files and of torchvision -> ours.
_RENAMED = (
    (r"^blocks\.(\d+)\.gamma_([12])$", r"blocks.\1.ls\2.gamma"),
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
)


def _present_name(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name


# The release whose weights are taken, and its share of ImageNet's validation images in percent, where it knows those classes.
_RELEASES: dict[str, tuple[str, float | None]] = {
    "vit_tiny_patch16_224": ("augreg_in21k_ft_in1k", 75.452),
    "vit_tiny_patch16_384": ("augreg_in21k_ft_in1k", 78.438),
    "vit_small_patch32_224": ("augreg_in21k_ft_in1k", 76.01),
    "vit_small_patch32_384": ("augreg_in21k_ft_in1k", 80.476),
    "vit_small_patch16_224": ("augreg_in21k_ft_in1k", 81.402),
    "vit_small_patch16_384": ("augreg_in21k_ft_in1k", 83.814),
    "vit_small_patch8_224": ("dino", None),
    "vit_medium_patch16_gap_240": ("sw_in12k", None),
    "vit_medium_patch16_gap_256": ("sw_in12k_ft_in1k", 84.442),
    "vit_medium_patch16_gap_384": ("sw_in12k_ft_in1k", 85.556),
    "vit_base_patch32_224": ("augreg_in21k_ft_in1k", 80.732),
    "vit_base_patch32_384": ("augreg_in21k_ft_in1k", 83.358),
    "vit_base_patch16_224": ("augreg2_in21k_ft_in1k", 85.108),
    "vit_base_patch16_384": ("augreg_in21k_ft_in1k", 86.01),
    "vit_base_patch8_224": ("augreg2_in21k_ft_in1k", 86.252),
    "vit_large_patch32_224": ("orig_in21k", None),
    "vit_large_patch32_384": ("orig_in21k_ft_in1k", 81.508),
    "vit_large_patch16_224": ("augreg_in21k_ft_in1k", 85.856),
    "vit_large_patch16_384": ("augreg_in21k_ft_in1k", 87.096),
    "vit_huge_patch14_224": ("orig_in21k", None),
    "vit_base_patch32_siglip_256": ("v2_webli", None),
    "vit_base_patch16_siglip_224": ("v2_webli", None),
    "vit_base_patch16_siglip_256": ("v2_webli", None),
    "vit_base_patch16_siglip_384": ("v2_webli", None),
    "vit_base_patch16_siglip_512": ("v2_webli", None),
    "vit_large_patch16_siglip_256": ("v2_webli", None),
    "vit_large_patch16_siglip_384": ("v2_webli", None),
    "vit_large_patch16_siglip_512": ("v2_webli", None),
    "vit_so400m_patch14_siglip_224": ("v2_webli", None),
    "vit_so400m_patch14_siglip_378": ("v2_webli", None),
    "vit_so400m_patch14_siglip_384": ("webli", None),
    "vit_so400m_patch16_siglip_256": ("v2_webli", None),
    "vit_so400m_patch16_siglip_384": ("v2_webli", None),
    "vit_so400m_patch16_siglip_512": ("v2_webli", None),
    "deit_tiny_patch16_224": ("fb_in1k", 72.19),
    "deit_small_patch16_224": ("fb_in1k", 79.856),
    "deit_base_patch16_224": ("fb_in1k", 81.98),
    "deit_base_patch16_384": ("fb_in1k", 83.108),
    "deit_tiny_distilled_patch16_224": ("fb_in1k", 74.538),
    "deit_small_distilled_patch16_224": ("fb_in1k", 81.204),
    "deit_base_distilled_patch16_224": ("fb_in1k", 83.384),
    "deit_base_distilled_patch16_384": ("fb_in1k", 85.438),
    "deit3_small_patch16_224": ("fb_in1k", 81.382),
    "deit3_small_patch16_384": ("fb_in1k", 83.432),
    "deit3_medium_patch16_224": ("fb_in1k", 83.09),
    "deit3_base_patch16_224": ("fb_in1k", 83.8),
    "deit3_base_patch16_384": ("fb_in1k", 85.088),
    "deit3_large_patch16_224": ("fb_in1k", 84.772),
    "deit3_large_patch16_384": ("fb_in1k", 85.82),
    "deit3_huge_patch14_224": ("fb_in1k", 85.204),
}


def _published(arch: str, tag: str, top1: float | None) -> Published:
    # Google's networks learned from images in [-1, 1].
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if tag in ("fb_in1k", "dino") else (HALF, HALF)
    return on_hub(f"{arch}.{tag}", mean=mean, std=std, size=VARIANTS[arch].size, top1=top1)


PUBLISHED: dict[str, Published] = {arch: _published(arch, *release) for arch, release in _RELEASES.items()}
