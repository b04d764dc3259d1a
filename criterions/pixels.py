"""The loss of a class for every pixel: the loss of single samples with a pixel for a sample, and losses of whole regions beside it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from criterions import REGION_LOSSES
from criterions.elementwise import ACTIVATIONS, ActivationName, full_precision
from criterions.regions.region import Region, build_region
from criterions.weighted import Criterion, build_criterion
from criterions.weighters.class_weights import ClassWeights
from utils.errors import UserError
from utils.spec import Spec

# The class of pixels that count for nothing.
IGNORE = 255


class PixelCriterion(nn.Module):
    """The loss of segmentation: the mean over the pixels that count, and region losses added to it.

    A pixel weighs what its image does. A batch without any pixel that counts has a loss of 0, with gradients of 0. Nothing is read from
    the device.

    Args:
        pixels: with a pixel for a sample, its weighters compare pixels; None for region losses alone.
        regions: added, each with a factor of its own.
        plain_softmax: whether `pixels` is the cross entropy, perhaps with class weights, and nothing else: torch computes it without dense
            targets.

    Attributes:
        activation: 'softmax' or 'sigmoid', for exported files.
    """

    def __init__(self, pixels: Criterion | None, regions: Sequence[Region] = (), *, plain_softmax: bool = False) -> None:
        super().__init__()
        assert pixels is not None or regions
        self.pixels = pixels
        self.regions = tuple(regions)
        self.activation: ActivationName = "softmax" if pixels is None else pixels.activation
        self._kind = ACTIVATIONS[self.activation]
        self._plain_softmax = plain_softmax

    def forward(self, logits: Tensor, truth: Tensor, sample_weights: Tensor, *, record: bool = True) -> Tensor:
        """Return the loss, a scalar in float32 or better.

        Args:
            logits: (N, C, H, W).
            truth: the class of every pixel, integers (N, H, W); IGNORE for those that count for nothing.
            sample_weights: (N,), of the images.
            record: whether weighters with counts count this batch.
        """
        check_shapes(logits, truth)
        with torch.autocast(logits.device.type, enabled=False):
            # A softmax over classes that lie side by side in memory, as channels-last has them, copies whole maps at every step.
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32), memory_format=torch.contiguous_format)
            truth = truth.long()
            known = truth != IGNORE
            weights = known * sample_weights[:, None, None].to(logits.dtype)
            total = logits.new_zeros(())
            # One softmax serves all parts of the loss.
            log_softmax = logits.log_softmax(1) if self._plain_softmax or (self.regions and self.activation == "softmax") else logits
            if self.pixels is not None:
                summed = (
                    self._cross_entropy(log_softmax, truth, weights)
                    if self._plain_softmax
                    else self._by_rows(logits, truth, weights, record)
                )
                total = total + summed / known.sum().clamp(min=1)
            if self.regions:
                probabilities = log_softmax.exp() if self.activation == "softmax" else self._kind.probabilities(logits)
                for region in self.regions:
                    total = total + region.factor * region.loss(probabilities, truth.where(known, 0), weights)
        return total

    def _cross_entropy(self, log_softmax: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
        assert self.pixels is not None
        (of_classes,) = [each.weights for each in self.pixels.weighters.values() if isinstance(each, ClassWeights)] or [None]
        terms = F.nll_loss(
            log_softmax, truth, None if of_classes is None else of_classes.to(log_softmax), ignore_index=IGNORE, reduction="none"
        )
        return (terms * weights).sum()

    def _by_rows(self, logits: Tensor, truth: Tensor, weights: Tensor, record: bool) -> Tensor:
        """Return the sum over pixels of weight x loss; a pixel that is ignored is a sample without label and weight."""
        assert self.pixels is not None
        targets = dense_rows(truth, logits.shape[1]).to(logits.dtype)
        rows = logits.movedim(1, -1).flatten(0, -2)
        return self.pixels(rows, targets, weights.flatten(), record=record) * len(rows)

    def plain(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the cross entropy of every pixel, softmax or binary, (N, H, W), without all that training adds; 0 where it is ignored."""
        check_shapes(logits, truth)
        logits, truth = full_precision(logits), truth.long()
        if self.activation == "softmax":
            return F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")
        targets = dense_rows(truth, logits.shape[1]).to(logits.dtype)
        terms = self._kind.plain(logits.movedim(1, -1).flatten(0, -2), targets).sum(1)
        return terms.reshape(truth.shape) * (truth != IGNORE)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities (N, C, H, W): softmax or sigmoid, the way the loss trains them."""
        return self._kind.probabilities(logits)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take the counts of the parts that are still the same, as `Criterion` does."""
        if self.pixels is None:
            return None
        prefix = "pixels."
        inside = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        return self.pixels.load_state_dict(inside, strict=strict, assign=assign)


def dense_rows(truth: Tensor, classes: int) -> Tensor:
    """Return one row a pixel, bool (N * H * W, classes): all False where it is ignored."""
    return truth.flatten()[:, None] == torch.arange(classes, device=truth.device)


def check_shapes(logits: Tensor, truth: Tensor) -> None:
    """Assert that every pixel has logits."""
    fits = logits.ndim == 4 and truth.shape == (len(logits), *logits.shape[2:])
    assert fits, f"a class for every pixel is wanted: {tuple(truth.shape)} for logits {tuple(logits.shape)}"


def build_pixel_criterion(
    spec: Sequence[Spec],
    *,
    classes: Sequence[str] = (),
    class_counts: Sequence[float] = (),
    class_shares: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    logit_adjust: float | None = None,
    jsd: float | None = None,
) -> PixelCriterion:
    """Build the loss of segmentation from a chain: the loss of a pixel, weighters, then region losses; or region losses alone.

    The arguments are those of `build_criterion`, with pixels for samples.

    Raises:
        UserError: a name, an argument, a file or a value cannot be used.
    """
    parts = [part for part in spec if part.name not in REGION_LOSSES]
    regions = [build_region(part) for part in spec if part.name in REGION_LOSSES]
    if not parts:
        for flag, value in (("label_smoothing", label_smoothing), ("logit_adjust", logit_adjust)):
            if value:
                raise UserError(f"--{flag} is for the loss of single pixels, and --criterion {spec[0]} has none; write 'softmax|{spec[0]}'")
        return PixelCriterion(None, regions)
    pixels = build_criterion(
        parts,
        classes=classes,
        class_counts=class_counts,
        class_shares=class_shares,
        label_smoothing=label_smoothing,
        logit_adjust=logit_adjust,
        jsd=jsd,
    )
    plain = (
        parts[0] == Spec("softmax")
        and {part.name for part in parts[1:]} <= {"class_weights"}
        and not label_smoothing
        and logit_adjust is None
    )
    return PixelCriterion(pixels, regions, plain_softmax=plain)
