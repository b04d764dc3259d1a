"""Walks batches without training: predictions of a whole split, every sample exactly once."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from applications.contract import Prediction, Task
from dataloader.sample import Batch
from utils.distributed import World


def score(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    autocast: torch.autocast,
    world: World,
    advance: Callable[[int], object] = int,
) -> Prediction:
    """Return the predictions for all batches of all processes, ordered by index.

    Args:
        model: network, set to evaluation mode meanwhile.
        task: what a batch means.
        batches: this process's share of the split.
        device: where the model is.
        autocast: precision of the forward pass.
        world: the processes that share the split.
        advance: called with the number of samples after each batch.
    """
    was_training = model.training
    model.eval()
    parts = []
    with torch.inference_mode(), autocast:
        for batch in batches:
            parts.append(task.predict(model, batch.to(device)))
            advance(len(batch))
    model.train(was_training)
    gathered = world.gather(parts)
    return Prediction.concatenate([part for parts in gathered for part in parts])
