"""Online hard mining (Shrivastava et al.: Training Region-based Object Detectors with OHEM, arXiv 1604.03540)."""

from typing import ClassVar, Literal

from torch import Tensor

from criterions.weighters.weighter import Weighter
from utils.errors import UserError


def hardest(hardness: Tensor, share: float) -> Tensor:
    """Return 1 for the hardest `share` of all values from 0 on, 0 for the others, in the shape of `hardness`.

    At least one value is kept; all values that tie with the last one kept are kept too. Values below 0 are no problems,
    and are neither counted nor kept. Nothing waits for the device.

    Args:
        hardness: at least one value; the larger, the harder.
        share: in (0, 1].
    """
    live = hardness >= 0
    # Without the allowance 0.07 x 100 would be 8.
    keep = (live.sum().double() * share - 1e-9).ceil().long().clamp(min=1)
    least = hardness.flatten().sort(descending=True).values.gather(0, keep[None] - 1)
    return ((hardness >= least) & live).to(hardness.dtype)


class HardMining(Weighter):
    """Keeps the hardest share of the problems of a batch: of samples for softmax, of (sample, class) pairs for sigmoids.

    The loss becomes the mean of those that are kept.

    Args:
        hard_ratio: share that is kept, in (0, 1].

    Raises:
        UserError: the share is out of range.
    """

    SCALE: ClassVar[Literal["moving", "batch", "own"]] = "batch"

    def __init__(self, hard_ratio: float = 0.7) -> None:
        super().__init__()
        if not 0 < hard_ratio <= 1:
            raise UserError(f"--hard_ratio {hard_ratio} is outside (0, 1]; it is the share that ohm keeps, 0.7 is a common choice")
        self.hard_ratio = hard_ratio

    def forward(self, probabilities: Tensor, targets: Tensor, *, hardness: Tensor) -> Tensor:
        del probabilities, targets
        kept = hardest(hardness, self.hard_ratio)
        return kept * ((hardness >= 0).sum() / kept.sum().clamp(min=1))
