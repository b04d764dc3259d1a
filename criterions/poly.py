"""Poly-1 loss (Leng et al.: PolyLoss, arXiv 2204.12511): cross entropy whose first polynomial term is raised."""

from functools import partial

from torch import Tensor

from criterions.elementwise import Elementwise, bce_terms, sigmoid_probabilities, softmax_probabilities, softmax_terms
from utils.errors import UserError


def poly1_terms(logits: Tensor, targets: Tensor, *, eps: float) -> Tensor:
    """Return t (-log p + eps (1 - p)) with p = softmax(z), (N, C).

    Args:
        logits: (N, C).
        targets: (N, C), one distribution a sample.
        eps: what is added to the first coefficient, 1 of the cross entropy; at least -1.
    """
    return softmax_terms(logits, targets) + eps * targets * (1 - softmax_probabilities(logits))


def poly1_bce_terms(logits: Tensor, targets: Tensor, *, eps: float) -> Tensor:
    """Return the binary cross entropy plus eps (t (1 - p) + (1 - t) p) with p = sigmoid(z), (N, C).

    Args:
        logits: (N, C).
        targets: (N, C) in [0, 1].
        eps: as above.
    """
    p = sigmoid_probabilities(logits)
    return bce_terms(logits, targets) + eps * (targets * (1 - p) + (1 - targets) * p)


def poly1(eps: float = 1.0) -> Elementwise:
    """Poly-1 on softmax."""
    return Elementwise("softmax", partial(poly1_terms, eps=_checked("poly1", eps)))


def poly1_bce(eps: float = 1.0) -> Elementwise:
    """Poly-1 on one sigmoid a class."""
    return Elementwise("sigmoid", partial(poly1_bce_terms, eps=_checked("poly1_bce", eps)))


def _checked(loss: str, eps: float) -> float:
    if not -1 <= eps < float("inf"):
        raise UserError(f"--criterion {loss}: eps {eps} must be a number of at least -1; 1 or 2 are common choices")
    return eps
