"""Predictions for tests, from probabilities that are taken as they are."""

import torch
from torch import Tensor

from applications.tasks.label_prediction import Prediction


def predicted(targets: Tensor, probabilities: Tensor, losses: Tensor | None = None) -> Prediction:
    """Return the prediction of N images with these probabilities (N, C), to the bit; the logits are those of a sigmoid."""
    count = len(targets)
    losses = torch.zeros(count) if losses is None else losses
    found = Prediction(torch.arange(count), targets, losses, probabilities.float().logit(), "sigmoid")
    # In place of what would be computed: the way to logits and back rounds.
    vars(found)["probabilities"] = probabilities.float()
    return found
