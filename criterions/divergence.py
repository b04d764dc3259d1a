"""Kullback-Leibler divergence of a softmax from its target (Kullback and Leibler: On Information and Sufficiency, 1951)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.elementwise import Elementwise, full_precision


def kl_terms(logits: Tensor, targets: Tensor) -> Tensor:
    """Return t (log t - log softmax(z)) for every class, in nats; a single term may be negative, their sum over classes is not.

    Args:
        logits: (N, C), of any floating type; half precision is computed in float32.
        targets: (N, C), one distribution a sample.

    Returns:
        (N, C) terms.
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    return torch.special.xlogy(targets, targets) - targets * log_p


def kl() -> Elementwise:
    """Kullback-Leibler divergence on softmax."""
    return Elementwise("softmax", kl_terms)
