"""How the channels of a map vary together, which tells surfaces apart wherever they lie (bilinear pooling, arXiv 1504.07889)."""

import torch
from torch import Tensor, nn

# Of wider maps, so many fixed mixtures of the channels are taken.
WIDEST = 48
# Added to variances: a channel that is the same everywhere correlates with none.
TINY = 1e-6


class ChannelCorrelations(nn.Module):
    """Map (N, C, h, w) -> deviations of its P channels over the pixels, and correlations of all pairs, (N, P (P + 1) / 2).

    Of more than 48 channels, P = 48 mixtures are taken.

    Args:
        channels: C.
    """

    pairs: Tensor
    mixtures: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.taken = min(channels, WIDEST)
        first, second = torch.triu_indices(self.taken, self.taken, offset=1)
        self.register_buffer("pairs", first * self.taken + second, persistent=False)
        drawn = torch.randn(channels, channels, generator=torch.Generator().manual_seed(channels))
        # Saved with the weights, since it is drawn.
        self.register_buffer("mixtures", torch.linalg.qr(drawn)[0][: self.taken].contiguous() if channels > self.taken else None)

    @property
    def kinds(self) -> list[int]:
        """How many deviations the answer of an image has, and how many correlations."""
        return [self.taken, len(self.pairs)]

    def forward(self, x: Tensor) -> Tensor:
        # Squares overflow in 16 bits, and differences to a mean that is large beside them are lost.
        with torch.autocast(x.device.type, enabled=False):
            pixels = x.flatten(2).float()
            if self.mixtures is not None:
                pixels = self.mixtures.float() @ pixels
            centered = pixels - pixels.mean(2, keepdim=True)
            deviations = (centered.square().mean(2, keepdim=True) + TINY).sqrt()
            unit = centered / deviations * centered.shape[2] ** -0.5
            correlations = (unit @ unit.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
            return torch.cat([deviations.flatten(1), correlations], 1).to(x.dtype)
