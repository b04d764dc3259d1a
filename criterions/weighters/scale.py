"""The scale of a weighted loss: factors are divided by their mean, so that a learning rate means the same with and without weighters."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Batches are remembered about fifty steps long: enough that a batch of costly samples still counts more than one of cheap ones.
MOMENTUM = 0.98


class MeanFactor(nn.Module):
    """The mean factor of the loss terms over the last batches, of all processes.

    Numerator and denominator are moving sums that begin at zero together, so their quotient needs no correction: at the first
    step it is the mean of the batch itself. They move in training mode, by batches that are recorded. With several processes all have
    to call together.

    Args:
        momentum: of the moving sums, in [0, 1); 0 looks at the latest batch alone, and saves nothing.
    """

    sums: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("sums", torch.zeros(2), persistent=momentum > 0)

    def forward(self, factors: Tensor, carried: Tensor, *, record: bool = True) -> Tensor:
        """Return the mean of the factors, a scalar; 1 where nothing has carried loss yet.

        Args:
            factors: broadcasts to (N, C), at least 0.
            carried: (N, C), how much of the loss without these factors each term carries.
            record: whether the sums move.
        """
        if self.training and record:
            new = torch.stack([(factors * carried).sum(), carried.sum()]).to(self.sums.dtype)
            if dist.is_available() and dist.is_initialized():
                dist.all_reduce(new)
            # A network that overflows in half precision skips a step; it must not leave a mark here.
            usable = torch.isfinite(new).all() & (new > 0).all()
            self.sums.copy_(torch.where(usable, torch.lerp(new, self.sums, self.momentum), self.sums))
        total, count = self.sums
        return torch.where(count > 0, total / count, 1.0).to(factors.dtype)
