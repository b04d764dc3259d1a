"""The loss of every (sample, class) pair on its own: softmax and sigmoid cross entropy.

Terms are kept apart until the weighters had their say; criterions/weighted.py sums them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_terms(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -t log softmax(z) for every class; the sum over classes is the cross entropy in nats.

    Args:
        logits: (N, C), of any floating type; half precision is computed in float32.
        targets: (N, C), one distribution a sample.

    Returns:
        (N, C) terms.
    """
    return -targets * F.log_softmax(full_precision(logits), dim=1)


def bce_terms(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -t log p - (1 - t) log(1 - p) with p = sigmoid(z) for every class, in nats.

    Args:
        logits: (N, C), of any floating type; half precision is computed in float32.
        targets: (N, C) in [0, 1], each class a binary problem.

    Returns:
        (N, C) terms.
    """
    logits = full_precision(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")


def softmax_probabilities(logits: Tensor) -> Tensor:
    """Return the (N, C) class probabilities of softmax logits; every row sums to one."""
    return F.softmax(full_precision(logits), dim=1)


def sigmoid_probabilities(logits: Tensor) -> Tensor:
    """Return the (N, C) class probabilities of sigmoid logits; each class stands by itself."""
    return torch.sigmoid(full_precision(logits))


def smooth(targets: Tensor, share: float) -> Tensor:
    """Spread `share` of every target evenly over all classes (arXiv 1512.00567, section 7).

    Softmax and sigmoid targets are smoothed alike, so that one flag means one thing: with C
    classes a one becomes 1 - share + share / C and a zero becomes share / C.

    Args:
        targets: (N, C).
        share: in [0, 1); 0 returns the targets as they are.
    """
    return targets if share == 0 else targets * (1 - share) + share / targets.shape[1]


def full_precision(values: Tensor) -> Tensor:
    """Return half-precision values as float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


@dataclass(frozen=True)
class Elementwise:
    """One family of losses: its terms, and the probabilities that belong to it.

    Attributes:
        activation: 'softmax' or 'sigmoid', the name under which the choice travels in files.
        terms: (logits, targets), both (N, C) -> (N, C).
        probabilities: logits (N, C) -> (N, C).
    """

    activation: str
    terms: Callable[[Tensor, Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor]


SOFTMAX = Elementwise("softmax", softmax_terms, softmax_probabilities)
BCE = Elementwise("sigmoid", bce_terms, sigmoid_probabilities)
