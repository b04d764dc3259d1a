"""Focal loss (Lin et al.: Focal Loss for Dense Object Detection, arXiv 1708.02002), for softmax and for sigmoids."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.elementwise import Elementwise, full_precision
from utils.errors import UserError


def focal_terms(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Return -t (1 - p)^gamma log p with p = softmax(z), (N, C); gamma 0 is the cross entropy.

    The gradient also flows through the factor, as in the paper.

    Args:
        logits: (N, C).
        targets: (N, C), one distribution a sample.
        gamma: how fast samples already right fade out, at least 0.
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    return -targets * misses(log_p).pow(gamma) * log_p


def focal_bce_terms(logits: Tensor, targets: Tensor, *, gamma: float, alpha: float | None) -> Tensor:
    """Return -a t (1 - p)^gamma log p - (1 - a) (1 - t) p^gamma log(1 - p) with p = sigmoid(z), (N, C).

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1].
        gamma: how fast answers already right fade out, at least 0.
        alpha: weight of the positives, in [0, 1]; None weighs both sides 1.
    """
    log_p, log_not = log_sides(logits)
    # Powers of probabilities are taken as exponentials: their gradient is finite down to zero.
    positive = -targets * (gamma * log_not).exp() * log_p
    negative = -(1 - targets) * (gamma * log_p).exp() * log_not
    return positive + negative if alpha is None else alpha * positive + (1 - alpha) * negative


def log_sides(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p) of p = sigmoid(z), each of the shape of `logits`."""
    logits = full_precision(logits)
    return F.logsigmoid(logits), F.logsigmoid(-logits)


def misses(log_p: Tensor) -> Tensor:
    """Return 1 - p from log p, kept just above zero: a power below one has no gradient there."""
    return -torch.expm1(log_p).clamp(max=-torch.finfo(log_p.dtype).eps)


def check_gamma(loss: str, name: str, gamma: float) -> None:
    """Raise UserError unless `gamma` is a finite number of at least 0."""
    if not 0 <= gamma < float("inf"):
        raise UserError(f"--criterion {loss}: {name} {gamma} must be a number of at least 0; see --list criterions for the usual one")


def focal(gamma: float = 2.0) -> Elementwise:
    """Focal loss on softmax."""
    check_gamma("focal", "gamma", gamma)
    return Elementwise("softmax", partial(focal_terms, gamma=gamma))


def focal_bce(gamma: float = 2.0, alpha: float | None = None) -> Elementwise:
    """Focal loss on one sigmoid a class."""
    check_gamma("focal_bce", "gamma", gamma)
    if alpha is not None and not 0 <= alpha <= 1:
        raise UserError(f"--criterion focal_bce: alpha {alpha} is outside [0, 1]; 0.25 is the paper's choice")
    return Elementwise("sigmoid", partial(focal_bce_terms, gamma=gamma, alpha=alpha))
