"""The logits of a network that an inner objective calls, for the objective around it."""

from torch import Tensor, nn


class CapturedLogits(nn.Module):
    """Passes a network's logits on, and keeps them for the objective around: both have them from one forward pass.

    Attributes:
        logits: (N, C), of the latest call.
    """

    logits: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        self.logits = self.network(images)
        return self.logits
