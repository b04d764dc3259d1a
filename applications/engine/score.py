"""Walks batches without training: predictions of a whole split, every sample exactly once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields

import torch
from torch import nn

from applications.contract import Prediction, Task
from dataloader.sample import Batch, Unreadable
from utils.distributed import World
from utils.errors import UserError
from utils.logs import log
from utils.text import FirstNames, counted


def score(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    autocast: torch.autocast,
    world: World,
    advance: Callable[[int], object] = int,
    left_out: Callable[[Sequence[Unreadable]], object] | None = None,
) -> Prediction:
    """Return the predictions for all batches of all processes, ordered by index.

    Images that a tolerant loader left out have no row.

    Args:
        model: network, set to evaluation mode meanwhile.
        task: what a batch means.
        batches: this process's share of the split.
        device: where the model is.
        autocast: precision of the forward pass.
        world: the processes that share the split.
        advance: called with the number of samples after each batch.
        left_out: called once with the images of all processes that could not be read.

    Raises:
        UserError: no image could be read.
    """
    was_training = model.training
    model.eval()
    parts: list[Prediction] = []
    unreadable: list[Unreadable] = []
    with torch.inference_mode(), autocast:
        for batch in batches:
            parts.append(_real(task.predict(model, batch.to(device))))
            unreadable += batch.unreadable
            advance(len(parts[-1].indices) + len(batch.unreadable))
    model.train(was_training)
    gathered = world.gather((parts, unreadable))
    lost = [each for _, some in gathered for each in some]
    rows = [part for some, _ in gathered for part in some]
    if left_out is not None:
        left_out(lost)
    if lost and not any(len(part.indices) for part in rows):
        raise UserError(f"none of {counted(len(lost), 'image')} can be read, such as {lost[0].path}: {lost[0].reason}")
    return Prediction.concatenate(rows)


def _real(prediction: Prediction) -> Prediction:
    """Return the rows that stand for images: black ones that fill a batch have no number."""
    rows = prediction.indices >= 0
    if rows.all():
        return prediction
    return Prediction(*(getattr(prediction, each.name)[rows] for each in fields(prediction)))


class LeftOut:
    """Names the first held-out images that cannot be read, and knows how many the last look went without.

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
