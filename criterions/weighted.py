"""The one loss of training: elementwise terms x weighters x sample weight, averaged over samples."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from criterions import CRITERIONS
from criterions.elementwise import Elementwise, smooth
from utils.errors import UserError


class Criterion(nn.Module):
    """A weighted classification loss on dense targets.

    loss = mean over samples of (sample weight x sum over classes of (term x product of weighters)).

    A weighter is a module (probabilities, targets) -> weights, all of shape (N, C); it sees values
    without gradient, targets as the loss sees them (smoothed), and keeps its state in buffers that
    move in training mode only. Without weighters the product is one.

    Attributes:
        activation: 'softmax' or 'sigmoid', for files that leave the house.
    """

    def __init__(self, elementwise: Elementwise, *, label_smoothing: float = 0.0, weighters: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.activation = elementwise.activation
        self._elementwise = elementwise
        self._smoothing = label_smoothing
        self.weighters = nn.ModuleList(weighters)

    def forward(self, logits: Tensor, targets: Tensor, sample_weights: Tensor) -> Tensor:
        """Return the weighted loss, a scalar in float32 or better.

        The divisor is the number of samples, not the sum of their weights: a sample of weight
        zero still counts, so that the learning rate means the same in every batch.

        Args:
            logits: (N, C).
            targets: (N, C), dense.
            sample_weights: (N,).
        """
        assert logits.shape == targets.shape, f"dense targets are wanted: {tuple(targets.shape)} for logits {tuple(logits.shape)}"
        assert sample_weights.shape == logits.shape[:1], f"one weight a sample is wanted, not {tuple(sample_weights.shape)}"
        targets = smooth(targets, self._smoothing)
        terms = self._elementwise.terms(logits, targets)
        # Weights choose what to learn from; no gradient may flow into the choice.
        with torch.no_grad():
            probabilities = self.probabilities(logits)
            weights = torch.ones_like(terms)
            for weighter in self.weighters:
                weights = weights * weighter(probabilities, targets)
        return ((terms * weights).sum(dim=1) * sample_weights).mean()

    def plain(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the (N,) loss of every sample without weighters, sample weights and smoothing.

        This is what evaluation reports: it can be compared between runs that were trained differently.

        Args:
            logits: (N, C).
            targets: (N, C), dense.
        """
        assert logits.shape == targets.shape, f"dense targets are wanted: {tuple(targets.shape)} for logits {tuple(logits.shape)}"
        return self._elementwise.terms(logits, targets).sum(dim=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return (N, C) probabilities: softmax or sigmoid, the way the loss trains them."""
        return self._elementwise.probabilities(logits)


def build_criterion(name: str, *, label_smoothing: float = 0.0, weighters: Iterable[nn.Module] = ()) -> Criterion:
    """Build the loss that `name` stands for in CRITERIONS.

    Args:
        name: a row of CRITERIONS, or 'my_file.py:NAME' that names an `Elementwise`.
        label_smoothing: share of every target that is spread over all classes, in [0, 1).
        weighters: modules (probabilities, targets) -> weights, multiplied with one another.

    Raises:
        UserError: the name or the smoothing cannot be used.
    """
    if not 0 <= label_smoothing < 1:
        raise UserError(f"--label_smoothing {label_smoothing} is outside [0, 1); 0.1 is a common choice, 0 turns it off")
    elementwise = CRITERIONS.resolve(name)
    if not isinstance(elementwise, Elementwise):
        raise UserError(f"--criterion {name}: an Elementwise (criterions/elementwise.py) is wanted, not {type(elementwise).__name__}")
    return Criterion(elementwise, label_smoothing=label_smoothing, weighters=weighters)
