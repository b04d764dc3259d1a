"""A regularized linear classifier on fixed features: multinomial or one-versus-all logistic regression by L-BFGS, in float64."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# Strengths of the penalty that are tried, the strongest first, for standardized features and the mean loss.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
FOLDS = 5
# Above this many products in a pass over the data, one part is held out instead of each in turn.
MOST_PRODUCTS = 1e9
# Largest gradient at which a head of up to USUAL classes is done, and one that is only compared with others.
STEPS, ACCURACY, ROUGH = 200, 1e-6, 1e-4
# Of more classes each has a smaller part of the images, and of the mean loss.
USUAL = 10

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits = features x weight^T + bias, in the precision of these.

    Attributes:
        weight: (C, D).
        bias: (C,).
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, C) of features (N, D)."""
        return features.to(self.weight.dtype) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Tried:
    """What cross-validation says of a strength: the mean loss of images that were held out, and the share that is answered right."""

    strength: float
    loss: float
    accuracy: float


def fit_head(
    features: Tensor,
    targets: Tensor,
    *,
    strength: float,
    activation: Activation,
    start: LinearHead | None = None,
    accuracy: float = ACCURACY,
) -> LinearHead:
    """Return the head that minimizes mean loss + strength / 2 x the sum of squares of its weights; biases are free.

    Args:
        features: (N, D), standardized for the strength to mean the same for all of them; the head has their precision, float64 for a
            small gradient.
        targets: (N, C) of the same precision, a distribution a row for softmax, each in [0, 1] for sigmoid.
        strength: of the penalty, above 0.
        activation: softmax for one class per image, sigmoid for several.
        start: where to begin, such as the head of the strength before.
        accuracy: largest gradient at which it is done, with up to 10 classes.
    """
    classes, width = targets.shape[1], features.shape[1]
    if activation == "softmax":
        accuracy *= min(1.0, USUAL / classes)
    weight = (start.weight if start else features.new_zeros(classes, width)).clone().requires_grad_()
    bias = (start.bias if start else features.new_zeros(classes)).clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, history_size=10, tolerance_grad=accuracy, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        total = _loss(features @ weight.T + bias, targets, activation) + strength / 2 * weight.square().sum()
        total.backward()
        return total

    solver.step(closure)
    return LinearHead(weight.detach(), bias.detach())


def choose_strength(features: Tensor, targets: Tensor, folds: Tensor, *, activation: Activation) -> list[Tried]:
    """Return the strengths that were tried, the best first: that of the lowest loss on held-out images.

    The strongest is tried first, and weaker ones as long as they are not worse twice in a row.

    Args:
        features: (N, D), standardized.
        targets: (N, C).
        folds: int64 (N,), the part, from 0, in which each image is held out.
        activation: as for `fit_head`.
    """
    parts = sorted(set(folds.tolist()))
    if len(features) * features.shape[1] * targets.shape[1] > MOST_PRODUCTS:
        parts = parts[:1]
    # Heads that are only compared are fitted in half of the bytes.
    features, targets = features.float(), targets.float()
    splits = [(folds != part, folds == part) for part in parts]
    starts: list[LinearHead | None] = [None] * len(splits)
    tried: list[Tried] = []
    for strength in STRENGTHS:
        loss = right = count = 0.0
        for number, (learned, held_out) in enumerate(splits):
            given = {"strength": strength, "activation": activation, "start": starts[number], "accuracy": ROUGH}
            head = fit_head(features[learned], targets[learned], **given)
            starts[number] = head
            logits, wanted = head.logits(features[held_out]), targets[held_out]
            loss += float(_loss(logits, wanted, activation)) * len(wanted)
            right += float(answered_right(logits, wanted, activation).sum())
            count += len(wanted)
        tried.append(Tried(strength, loss / count, right / count))
        if len(tried) >= 3 and all(before.loss < after.loss for before, after in pairwise(tried[-3:])):
            break
    return sorted(tried, key=lambda each: each.loss)


def answered_right(logits: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    """Return whether each image is answered right, bool (N,): its class is named, or exactly its labels are."""
    if activation == "softmax" or bool((targets.sum(1) == 1).all()):
        return logits.argmax(1) == targets.argmax(1)
    return ((logits > 0) == (targets > 0.5)).all(1)


def nearest_neighbors(known: Tensor, targets: Tensor, asked: Tensor, *, count: int = 20) -> Tensor:
    """Return the mean target of the most similar known images, float64 (M, C), weighted by the cosine of the angle.

    Args:
        known: features (N, D) whose targets (N, C) are known.
        targets: float64 (N, C).
        asked: features (M, D).
        count: of neighbors; fewer where fewer are known.
    """
    known, count = F.normalize(known.float()), min(count, len(known))
    found = []
    for part in asked.float().split(1024):
        similar, rows = (F.normalize(part) @ known.T).topk(count)
        weights = similar.clamp(min=1e-6).double()
        found.append((weights[..., None] * targets[rows]).sum(1) / weights.sum(1, keepdim=True))
    return torch.cat(found)


def standardized(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features float64 (N, D) of mean 0 and deviation 1, with the mean and the deviation (D,); constant ones become 0."""
    # The one large copy: the rest is done in place.
    features = features.to(torch.float64, copy=True)
    mean, deviation = features.mean(0), features.std(0, correction=0)
    deviation = torch.where(deviation > 1e-9, deviation, torch.ones_like(deviation))
    return features.sub_(mean).div_(deviation), mean, deviation


def unstandardized(head: LinearHead, mean: Tensor, deviation: Tensor) -> LinearHead:
    """Return the head that answers for the features themselves what `head` answers for standardized ones."""
    weight = head.weight / deviation
    return LinearHead(weight, head.bias - weight @ mean)


def deal_folds(labels: Sequence[int], groups: Sequence[str] = (), *, folds: int = FOLDS, seed: int = 0) -> Tensor:
    """Return the part of every image, int64 (N,): labels are spread evenly, and images of one group stay together.

    Args:
        labels: of the images, N of them.
        groups: names of their groups, where '' is a group of its own; empty without groups.
        folds: parts, fewer where there are fewer images.
        seed: of the order.
    """
    order: list[int] = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    order.sort(key=lambda index: labels[index])
    of_group: dict[str, int] = {}
    found = torch.zeros(len(labels), dtype=torch.int64)
    for turn, index in enumerate(order):
        name = groups[index] if groups else ""
        found[index] = of_group.setdefault(name, turn % min(folds, len(labels))) if name else turn % min(folds, len(labels))
    return found


def _loss(logits: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    if activation == "softmax":
        return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1).mean()
