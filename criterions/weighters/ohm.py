"""Online hard mining (Shrivastava et al.: Training Region-based Object Detectors with OHEM, arXiv 1604.03540)."""

import math

from torch import Tensor

from criterions.weighters.base import Weighter
from utils.errors import UserError


def hardest(hardness: Tensor, share: float) -> Tensor:
    """Return 1 for the hardest `share` of all values, 0 for the others, in the shape of `hardness`.

    At least one value is kept; all values that tie with the last one kept are kept too.

    Args:
        hardness: at least one value; the larger, the harder.
        share: in (0, 1].
    """
    count = hardness.numel()
    # Without the allowance 0.07 x 100 would be 8.
    keep = max(1, math.ceil(share * count - 1e-9))
    least = hardness.flatten().kthvalue(count - keep + 1).values
    return (hardness >= least).to(hardness.dtype)


class HardMining(Weighter):
    """Keeps the hardest share of the problems of a batch: of samples for softmax, of (sample, class) pairs for sigmoids.

    Args:
        hard_ratio: share that is kept, in (0, 1].

    Raises:
        UserError: the share is out of range.
    """

    def __init__(self, hard_ratio: float = 0.7) -> None:
        super().__init__()
        if not 0 < hard_ratio <= 1:
            raise UserError(f"--hard_ratio {hard_ratio} is outside (0, 1]; it is the share that ohm keeps, 0.7 is a common choice")
        self.hard_ratio = hard_ratio

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del probabilities, targets
        return hardest(hardness, self.hard_ratio)
