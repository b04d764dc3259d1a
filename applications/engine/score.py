"""Evaluation: every image of a split exactly once."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from applications.contract import Meter, Task
from dataloader.sample import Batch, Unreadable
from utils.distributed import World
from utils.errors import UserError
from utils.text import counted


def score(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    images: int,
    device: torch.device,
    autocast: torch.autocast,
    world: World,
    advance: Callable[[int], object] = int,
    left_out: Callable[[Sequence[Unreadable]], object] | None = None,
    meter: Meter | None = None,
) -> Meter:
    """Return a meter: on the first process with the batches of all, on another with its own alone.

    Images that a tolerant loader left out are not counted.

    Args:
        model: network, set to evaluation mode meanwhile.
        task: what a batch means.
        batches: this process's share of the split.
        images: of the split.
        device: where the model is.
        autocast: precision of the forward pass.
        world: the processes that share the split.
        advance: called with the number of samples after each batch.
        left_out: called once with the unreadable images of all processes.
        meter: what counts; None for that of the task.

    Raises:
        UserError: no image could be read.
    """
    was_training = model.training
    model.eval()
    counts = task.meter(images) if meter is None else meter
    seen = 0
    unreadable: list[Unreadable] = []
    with torch.inference_mode(), autocast:
        for batch in batches:
            # Padding has a negative index.
            count = int((batch.indices >= 0).sum())
            batch = batch.to(device)
            counts.update(batch, task.forward(model, batch))
            seen += count
            unreadable += batch.unreadable
            advance(count + len(batch.unreadable))
    model.train(was_training)
    told = world.gather((seen, unreadable))
    lost = [each for _, some in told for each in some]
    if left_out is not None:
        left_out(lost)
    if lost and not any(count for count, _ in told):
        raise UserError(f"none of {counted(len(lost), 'image')} can be read, such as {lost[0].path}: {lost[0].reason}")
    for state in world.sent_to_first(counts.state):
        counts.merge(state)
    return counts
