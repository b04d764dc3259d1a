"""Asymmetric loss (Ridnik et al.: Asymmetric Loss For Multi-Label Classification, arXiv 2009.14119)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.elementwise import Elementwise, full_precision
from criterions.focal import check_gamma, log_sides, misses
from utils.errors import UserError


def asymmetric_terms(logits: Tensor, targets: Tensor, *, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """Return -t (1 - p)^gamma_pos log p - (1 - t) q^gamma_neg log(1 - q) with p = sigmoid(z), q = max(p - clip, 0).

    Negatives below `clip` are forgotten, which also spares missing labels. The gradient flows
    through the factors, as in the paper.

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1].
        gamma_neg, gamma_pos: how fast right negatives and positives fade out, at least 0.
        clip: margin of the negatives, in [0, 1).

    Returns:
        (N, C) terms.
    """
    log_p, log_not = log_sides(logits)
    positive = (gamma_pos * log_not).exp() * log_p
    if clip == 0:
        negative = (gamma_neg * log_p).exp() * log_not
    else:
        shifted = (log_p.exp() - clip).clamp(min=0)
        # A power below one has no gradient at zero, where the margin may fall exactly.
        factor = shifted.clamp(min=torch.finfo(shifted.dtype).eps).pow(gamma_neg)
        # From the other side: 1 - shifted would be rounded to zero for a sure answer.
        negative = factor * (log_not.exp() + clip).clamp(max=1).log()
    return -targets * positive - (1 - targets) * negative


def asymmetric_single_terms(logits: Tensor, targets: Tensor, *, gamma_neg: float, gamma_pos: float) -> Tensor:
    """Return -t (t (1 - p)^gamma_pos + (1 - t) p^gamma_neg) log p with p = softmax(z), (N, C).

    A target between zero and one takes its share of both factors. The negative one acts where
    a wrong class has a target above zero: with label smoothing or mixed images.

    Args:
        logits: (N, C).
        targets: (N, C), one distribution a sample.
        gamma_neg, gamma_pos: how fast right negatives and positives fade out, at least 0.
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    factor = targets * misses(log_p).pow(gamma_pos) + (1 - targets) * (gamma_neg * log_p).exp()
    return -targets * factor * log_p


def asymmetric(gamma_neg: float = 4.0, gamma_pos: float = 1.0, clip: float = 0.05) -> Elementwise:
    """Asymmetric loss for multi-label images."""
    check_gamma("asymmetric", "gamma_neg", gamma_neg)
    check_gamma("asymmetric", "gamma_pos", gamma_pos)
    if not 0 <= clip < 1:
        raise UserError(f"--criterion asymmetric: clip {clip} is outside [0, 1); 0.05 is the paper's choice")
    return Elementwise("sigmoid", partial(asymmetric_terms, gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip))


def asymmetric_single(gamma_neg: float = 4.0, gamma_pos: float = 0.0) -> Elementwise:
    """Asymmetric loss for one label an image."""
    check_gamma("asymmetric_single", "gamma_neg", gamma_neg)
    check_gamma("asymmetric_single", "gamma_pos", gamma_pos)
    return Elementwise("softmax", partial(asymmetric_single_terms, gamma_neg=gamma_neg, gamma_pos=gamma_pos))
