"""Images that cannot be read: the first few are named, the rest is counted."""

from collections.abc import Sequence

from dataloader.sample import Batch, Unreadable
from utils.distributed import World
from utils.errors import UserError
from utils.logs import log
from utils.text import FirstNames, counted


class UnreadableTrainImages:
    """Logs the first unreadable training images, counts the rest, and stops the run when more than half of an epoch is unreadable."""

    def __init__(self) -> None:
        self.files = FirstNames()
        self.left_out = self.wanted = 0

    def begin(self) -> None:
        """Start counting for an epoch, or the rest of one."""
        self.left_out = self.wanted = 0

    def check(self, world: World) -> None:
        """Log how many more could not be read, and check the share of the epoch over all processes.

        Raises:
            UserError: more than half could not be read.
        """
        left_out, wanted = (sum(counts) for counts in zip(*world.gather((self.left_out, self.wanted)), strict=True))
        share = f"{left_out:,} of {wanted:,} training images ({left_out / max(1, wanted):.1%})"
        if rest := self.files.rest():
            log().warning(
                f"skipped {counted(rest, 'more unreadable image')} ({len(self.files):,} so far); this epoch went without {share}; "
                "--check names all of them"
            )
        if 2 * left_out > wanted:
            raise UserError(
                f"{share} could not be read in this epoch: is the folder still there? "
                "The checkpoints written before are kept; go on with --resume"
            )

    def tell(self, batch: Batch) -> None:
        """Count the images of a batch, still on the CPU, and name those that were left out."""
        self.left_out += len(batch.unreadable)
        # Padding has a negative index.
        self.wanted += len(batch.unreadable) + int((batch.indices >= 0).sum()) // batch.copies
        for image in batch.unreadable:
            if number := self.files.number(image.path):
                log().warning(f"skipped {image.path}: {image.reason} ({number} unreadable so far; --strict stops at the first)")


class UnreadableHeldOutImages:
    """Logs the first unreadable held-out images, and knows how many the last measurement went without.

    Args:
        images: of the split.
    """

    def __init__(self, images: int = 0) -> None:
        self.images = images
        self.count = 0
        self._files = FirstNames()

    def __call__(self, unreadable: Sequence[Unreadable]) -> None:
        self.count = len(unreadable)
        for image in unreadable:
            if self._files.number(image.path):
                log().warning(f"cannot read {image.path}: {image.reason}")
        if new := self._files.rest():
            log().warning(f"cannot read {counted(new, 'more image')} of this split")

    def __str__(self) -> str:
        return f"{self.count:,} of {counted(self.images, 'val image')} unreadable" if self.count else ""
