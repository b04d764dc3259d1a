"""How a task learns without gradients: passes over the training images, then a look at held-out ones."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from applications.contract import LearnsInPasses
from applications.engine.unreadable import UnreadableTrainImages
from dataloader.sample import Batch


def observe(
    model: nn.Module,
    task: LearnsInPasses,
    training: Callable[[int], Iterable[Batch]],
    held_out: Callable[[], Iterable[Batch]],
    *,
    device: torch.device,
    advance: Callable[[int], object] = int,
) -> tuple[UnreadableTrainImages, dict[int, float]]:
    """Fit a network; return which training images could not be read, and how strange each of the others looks, by its position.

    Args:
        model: network, set to evaluation mode.
        task: what a batch means.
        training: number of a pass, from 0 -> the training images, each once.
        held_out: the images that give the answers their scale.
        device: where the model is.
        advance: called with the number of images after each batch.
    """
    model.eval()
    unreadable = UnreadableTrainImages()
    # Not in inference mode, whose tensors could not be loaded into later.
    with torch.no_grad():
        for number in range(task.passes(model)):
            unreadable.begin()
            for batch in training(number):
                # What is missing is named once.
                if number == 0:
                    unreadable.tell(batch)
                advance(int((batch.indices >= 0).sum()))
                task.observe(model, batch.to(device))
            task.finish(model)
        strange: dict[int, float] = {}
        for batch in training(task.passes(model)):
            real = batch.indices >= 0
            found = task.strangeness(model, batch.to(device), len(strange))[real]
            strange |= dict(zip(batch.indices[real].tolist(), found.tolist(), strict=True))
            advance(int(real.sum()))
        for batch in held_out():
            task.observe_held_out(model, batch.to(device))
        task.settle(model)
    return unreadable, strange
