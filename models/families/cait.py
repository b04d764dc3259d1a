"""CaiT: class attention in image transformers (arXiv 2103.17239).

Parameter names are timm's and Meta's, so their published weights load as they are. Position embeddings of the published size are
resampled where images have another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbone import Backbone, FeatureInfo, checked_width
from models.layers.image_size import check_multiple
from models.layers.position_embedding import resize_positions, resized_in_file
from models.layers.stochastic_depth import StochasticDepth
from models.layers.transformer import EPS, Mlp, PatchEmbed, init_trunc_normal, merge_heads, split_heads
from models.maps.layout import Layout, tap_blocks, to_map, tokens_of, with_last
from models.published import Published, on_hub

PATCH = 16
CLASS_BLOCKS = 2


@dataclass(frozen=True)
class CaiTArch:
    """Width and number of the blocks, the side of the published images in pixels, and the start of the layer scales."""

    width: int
    depth: int
    size: int
    layer_scale: float = 1e-5

    @property
    def heads(self) -> int:
        return self.width // 48


VARIANTS: dict[str, CaiTArch] = {
    "cait_xxs24_224": CaiTArch(192, 24, 224),
    "cait_xxs24_384": CaiTArch(192, 24, 384),
    "cait_xxs36_224": CaiTArch(192, 36, 224),
    "cait_xxs36_384": CaiTArch(192, 36, 384),
    "cait_xs24_384": CaiTArch(288, 24, 384),
    "cait_s24_224": CaiTArch(384, 24, 224),
    "cait_s24_384": CaiTArch(384, 24, 384),
    "cait_s36_384": CaiTArch(384, 36, 384, 1e-6),
    "cait_m36_384": CaiTArch(768, 36, 384, 1e-6),
    "cait_m48_448": CaiTArch(768, 48, 448, 1e-6),
}


class TalkingHeads(nn.Module):
    """Self-attention whose heads are mixed before and after the softmax (arXiv 2003.02436)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.proj_l = nn.Linear(heads, heads)
        self.proj_w = nn.Linear(heads, heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv(x), 3, heads=self.heads)
        seen = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        seen = _mix_heads(seen, self.proj_l).softmax(-1)
        return self.proj(merge_heads(_mix_heads(seen, self.proj_w) @ v))


def _mix_heads(seen: Tensor, mix: nn.Linear) -> Tensor:
    """A linear layer over the heads of (N, heads, L, L)."""
    return mix(seen.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ClassAttention(nn.Module):
    """The first token of (N, L, C) looks at all: (N, 1, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        (q,), (k,), (v,) = (split_heads(y, 1, heads=self.heads) for y in (self.q(x[:, :1]), self.k(x), self.v(x)))
        return self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))


class Block(nn.Module):
    """Attention and an MLP, each with a learned factor for its channels and beside a shortcut."""

    def __init__(self, arch: CaiTArch, attention: type[TalkingHeads | ClassAttention] = TalkingHeads) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((arch.width,), arch.layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((arch.width,), arch.layer_scale))
        self.norm1 = nn.LayerNorm(arch.width, eps=EPS)
        self.attn = attention(arch.width, arch.heads)
        self.norm2 = nn.LayerNorm(arch.width, eps=EPS)
        self.mlp = Mlp(arch.width, 4 * arch.width)
        self.depth = StochasticDepth(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depth(self.gamma_1 * self.attn(self.norm1(x)))
        return x + self.depth(self.gamma_2 * self.mlp(self.norm2(x)))


class ClassBlock(Block):
    """Only the class token changes; it looks at itself and at the patches."""

    def __init__(self, arch: CaiTArch) -> None:
        super().__init__(arch, ClassAttention)

    def forward(self, token: Tensor, patches: Tensor) -> Tensor:
        token = token + self.gamma_1 * self.attn(self.norm1(torch.cat([token, patches], dim=1)))
        return token + self.gamma_2 * self.mlp(self.norm2(token))


class CaiT(Backbone):
    """A variant of the table. Maps: four, after each quarter of the blocks of self-attention, all at stride 16.

    The head begins with the class token, which reads the last map.

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
        width = self.arch.width
        height, breadth = image_size or (self.arch.size, self.arch.size)
        self.grid = (height // PATCH, breadth // PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], width))
        self.patch_embed = PatchEmbed(PATCH, width)
        self.blocks = nn.Sequential(*(Block(self.arch) for _ in range(self.arch.depth)))
        self.blocks_token_only = nn.ModuleList(ClassBlock(self.arch) for _ in range(CLASS_BLOCKS))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.dropout = nn.Dropout(drop_rate or 0.0)
        self.head = nn.Linear(width, num_classes)
        init_trunc_normal(self)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    @property
    def feature_info(self) -> list[FeatureInfo]:
        return [FeatureInfo(self.arch.width, PATCH)] * 4

    def forward_features(self, x: Tensor) -> list[Tensor]:
        layout, grid = Layout("NLC"), self._grid(x)
        *earlier, last = tap_blocks(self.blocks, self._embed(x), parts=4)
        return with_last([to_map(each, layout, grid=grid) for each in earlier], last, layout=layout, grid=grid)

    def forward_head(self, maps: list[Tensor], pre_logits: bool = False) -> Tensor:
        return self._answer(tokens_of(maps, prefix=0), pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self._answer(self.blocks(self._embed(x)))

    def _embed(self, x: Tensor) -> Tensor:
        return self.patch_embed(x) + resize_positions(self.pos_embed, self.grid, wanted=self._grid(x))

    def _grid(self, x: Tensor) -> tuple[int, int]:
        return x.shape[-2] // PATCH, x.shape[-1] // PATCH

    def _answer(self, patches: Tensor, *, pre_logits: bool = False) -> Tensor:
        token = self.cls_token.expand(patches.shape[0], -1, -1)
        for block in self.blocks_token_only:
            token = block(token, patches)
        vector = self.norm(token)[:, 0]
        return vector if pre_logits else self.head(self.dropout(vector))

    def set_drop_path(self, rate: float) -> None:
        """Skip both branches of every block of self-attention with this probability, as the paper does."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.depth.rate = rate

    def get_classifier(self) -> nn.Linear:
        return self.head

    def init_classifier(self, layer: nn.Linear | nn.Conv2d) -> None:
        init_trunc_normal(layer)

    def check_size(self, image_size: tuple[int, int]) -> None:
        check_multiple(image_size, PATCH, arch=self.name)

    def no_weight_decay(self) -> frozenset[str]:
        return frozenset({"pos_embed", "cls_token"})

    def remap(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring the position embeddings of a file to this grid."""
        found = dict(state)
        if "pos_embed" in found:
            found["pos_embed"] = resized_in_file(found["pos_embed"], prefix=0, grid=self.grid)
        return found


# Share of ImageNet's validation images in percent, as timm measured it.
_TOP1 = {
    "cait_xxs24_224": 78.4,
    "cait_xxs24_384": 80.954,
    "cait_xxs36_224": 79.75,
    "cait_xxs36_384": 82.204,
    "cait_xs24_384": 84.064,
    "cait_s24_224": 83.484,
    "cait_s24_384": 85.048,
    "cait_s36_384": 85.458,
    "cait_m36_384": 86.06,
    "cait_m48_448": 86.48,
}

PUBLISHED: dict[str, Published] = {
    arch: on_hub(f"{arch}.fb_dist_in1k", size=VARIANTS[arch].size, top1=top1) for arch, top1 in _TOP1.items()
}
