"""One answer for all copies of an image: the Jensen-Shannon divergence of AugMix (Hendrycks et al., arXiv 1912.02781, section 3)."""

import math

import torch
from torch import Tensor


def js_divergence(logs: Tensor) -> Tensor:
    """Return how far k answers to the same questions are apart, (N,), in nats: 0 where all are equal, at most log k a question.

    It is the mean over the answers of the Kullback-Leibler divergence from their mean, summed over questions.

    Args:
        logs: (k, N, Q, A) log probabilities of the A answers to each of Q questions.
    """
    mixture = torch.logsumexp(logs, dim=0) - math.log(len(logs))
    return (logs.exp() * (logs - mixture)).sum(dim=(2, 3)).mean(dim=0)
