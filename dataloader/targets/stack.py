"""Stacks the targets of samples, all of one kind, into those of a batch."""

from collections.abc import Sequence

from torch import Tensor

from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Stacked, Target
from utils.errors import UserError


def stack_targets(targets: Sequence[Target]) -> Tensor | Stacked:
    """Return the targets stacked by their type; a `Label` among `Labels` becomes one-hot.

    Raises:
        UserError: their kinds or shapes differ, perhaps because of a user's own augmentation.
    """
    kinds = {type(target) for target in targets}
    if kinds == {Label, Labels}:
        return Labels.stack(targets)
    if len(kinds) > 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise UserError(f"targets of the types {found} in one batch: give all images targets of one kind")
    return next(iter(kinds)).stack(targets)
