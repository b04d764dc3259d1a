"""The loss of every (sample, class) pair on its own, and what softmax and sigmoid each mean by it.

Terms are kept apart until the weighters had their say; criterions/weighted.py sums them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

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


def softmax_parts(logits: Tensor) -> Tensor:
    """Return the log probabilities of the one question that softmax asks, (N, 1, C)."""
    return F.log_softmax(full_precision(logits), dim=1)[:, None]


def sigmoid_parts(logits: Tensor) -> Tensor:
    """Return the log probabilities of yes and no of every class, (N, C, 2)."""
    logits = full_precision(logits)
    return torch.stack((F.logsigmoid(logits), F.logsigmoid(-logits)), dim=2)


def softmax_hardness(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return the share of probability that is misplaced, (N, 1) in [0, 1].

    Softmax poses one problem a sample. Half the sum of |p - t| is |p - t| of the true class when
    the target is one-hot, and stays a distance of distributions when it is mixed or smoothed.
    """
    return (probabilities - targets).abs().sum(dim=1, keepdim=True) / 2


def sigmoid_hardness(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return |p - t|, the size of the gradient at the logit, of every class: (N, C) in [0, 1]."""
    return (probabilities - targets).abs()


def softmax_shares(targets: Tensor) -> Tensor:
    """Return how much of the loss each term carries, (N, C): the target, which is a factor of the term."""
    return targets


def sigmoid_shares(targets: Tensor) -> Tensor:
    """Return how much of the loss each term carries, (N, C): every class of every sample has a whole term."""
    return torch.ones_like(targets)


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


Terms = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """What turns logits into probabilities, and what follows from it.

    Attributes:
        plain: (logits, targets) -> (N, C), the cross entropy that evaluation reports.
        probabilities: logits (N, C) -> (N, C).
        hardness: (probabilities, targets) -> how wrong each problem is answered, in [0, 1]; (N, 1)
            where a sample is one problem, (N, C) where each class is one.
        parts: logits (N, C) -> (N, Q, A), the log probabilities of the A answers to each of Q questions.
        shares: targets (N, C) -> (N, C), how much of the loss each term carries.
    """

    plain: Terms
    probabilities: Callable[[Tensor], Tensor]
    hardness: Callable[[Tensor, Tensor], Tensor]
    parts: Callable[[Tensor], Tensor]
    shares: Callable[[Tensor], Tensor]


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "softmax": Activation(softmax_terms, softmax_probabilities, softmax_hardness, softmax_parts, softmax_shares),
        "sigmoid": Activation(bce_terms, sigmoid_probabilities, sigmoid_hardness, sigmoid_parts, sigmoid_shares),
    }
)


ActivationName = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Elementwise:
    """One kind of loss: its activation, by the name under which it travels in files, and its terms.

    Attributes:
        activation: 'softmax' or 'sigmoid'.
        terms: (logits, targets), both (N, C) -> (N, C).
    """

    activation: ActivationName
    terms: Terms


def softmax() -> Elementwise:
    """Softmax cross entropy."""
    return Elementwise("softmax", softmax_terms)


def bce() -> Elementwise:
    """Binary cross entropy, one sigmoid problem a class."""
    return Elementwise("sigmoid", bce_terms)
