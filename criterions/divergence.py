"""Divergences of distributions: of a softmax from its target (Kullback and Leibler: On Information and Sufficiency, 1951), and of
the answers to copies of an image from one another (AugMix: Hendrycks et al., arXiv 1912.02781, section 3).
"""

import math

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


def js_divergence(logs: Tensor) -> Tensor:
    """Return how far k answers to the same questions are apart, (N,), in nats: 0 where all are equal, at most log k a question.

    It is the mean over the answers of the Kullback-Leibler divergence from their mean, summed over questions.

    Args:
        logs: (k, N, Q, A) log probabilities of the A answers to each of Q questions.
    """
    mixture = torch.logsumexp(logs, dim=0) - math.log(len(logs))
    return (logs.exp() * (logs - mixture)).sum(dim=(2, 3)).mean(dim=0)
