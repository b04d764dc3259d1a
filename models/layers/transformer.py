"""Parts of the blocks of vision transformers (arXiv 2010.11929) and of their relatives."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


class PatchEmbed(nn.Module):
    """A convolution that sees every patch once: (N, 3, H, W) -> tokens (N, H W / patch^2, C), row by row."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers and a GELU between them, for each token."""

    def __init__(self, width: int, hidden: int, act: Callable[[], nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = act()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Attention(nn.Module):
    """Multi-head self-attention of tokens (N, L, C)."""

    def __init__(self, width: int, heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = split_heads(self.qkv(x), 3, heads=self.heads)
        return self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))


def split_heads(x: Tensor, parts: int, *, heads: int) -> tuple[Tensor, ...]:
    """Cut (N, L, parts x C) into `parts` tensors (N, heads, L, C / heads)."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def merge_heads(x: Tensor) -> Tensor:
    """(N, heads, L, C / heads) -> (N, L, C)."""
    return x.transpose(1, 2).flatten(2)


def init_trunc_normal(network: nn.Module) -> None:
    """Draw linear layers from a narrow normal (arXiv 2010.11929), biases 0; all else keeps its start."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
