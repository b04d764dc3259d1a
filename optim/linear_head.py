"""A regularized linear classifier on fixed features: multinomial or one-versus-all logistic regression by L-BFGS, in float64."""

from collections import Counter
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
# Features that vary less than this share of the median of their kind are not scaled up to the others: one that is nearly always silent
# would have a weight in the thousands, by which an image in which it speaks is decided alone.
LEAST_DEVIATION = 0.2
# A feature that varies by no more than this is the same in all images.
CONSTANT = 1e-9

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


def choose_strength(features: Tensor, targets: Tensor, folds: Tensor, *, activation: Activation, widths: Sequence[int] = ()) -> list[Tried]:
    """Return the strengths that were tried, the best first: that of the lowest loss on held-out images.

    The strongest is tried first, and weaker ones as long as they are not worse twice in a row. Features are standardized by the images
    that are learned from, so that those held out have no part in it.

    Args:
        features: (N, D), as they are.
        targets: (N, C).
        folds: int64 (N,), the part, from 0, in which each image is held out.
        activation: as for `fit_head`.
        widths: of the kinds of features, as for `Scale.of`.
    """
    parts = sorted(set(folds.tolist()))
    if len(features) * features.shape[1] * targets.shape[1] > MOST_PRODUCTS:
        parts = parts[:1]
    # Heads that are only compared are fitted in half of the bytes.
    features, targets = features.float(), targets.float()
    splits = [(folds != part, folds == part) for part in parts]
    scales = [Scale.of(features[learned], widths) for learned, _ in splits]
    one_each = names_one_class(targets, activation)
    starts: list[LinearHead | None] = [None] * len(splits)
    tried: list[Tried] = []
    for strength in STRENGTHS:
        loss = right = count = 0.0
        for number, (learned, held_out) in enumerate(splits):
            given = {"strength": strength, "activation": activation, "start": starts[number], "accuracy": ROUGH}
            head = fit_head(scales[number].apply_(features[learned]), targets[learned], **given)
            starts[number] = head
            logits, wanted = head.logits(scales[number].apply_(features[held_out])), targets[held_out]
            loss += float(_loss(logits, wanted, activation)) * len(wanted)
            right += float(answered_right(logits, wanted, one_each=one_each).sum())
            count += len(wanted)
        tried.append(Tried(strength, loss / count, right / count))
        if len(tried) >= 3 and all(before.loss < after.loss for before, after in pairwise(tried[-3:])):
            break
    return sorted(tried, key=lambda each: each.loss)


def names_one_class(targets: Tensor, activation: Activation) -> bool:
    """Whether images are answered by their likeliest class: with softmax, and with sigmoid where all targets (N, C) are of one class."""
    return activation == "softmax" or bool((targets.sum(1) - 1).abs().max() < 1e-3)


def answered_right(logits: Tensor, targets: Tensor, *, one_each: bool) -> Tensor:
    """Return whether each image is answered right, bool (N,): its class is named, or exactly its labels are.

    Args:
        logits: (N, C).
        targets: (N, C).
        one_each: what `names_one_class` says of all images of the data; of a few of them it cannot be seen.
    """
    if one_each:
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


@dataclass(frozen=True, eq=False)
class Scale:
    """What features are standardized by.

    Attributes:
        mean: (D,).
        deviation: (D,), above 0.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor, widths: Sequence[int] = ()) -> "Scale":
        """Return means and deviations of features (N, D), the deviations no smaller than a share of the median of their kind.

        Args:
            features: of images that may be learned from.
            widths: of the kinds of features, each on a scale of its own, which add up to D; empty where all are of one kind.
        """
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        for kind in deviation.split(list(widths) or len(deviation)):
            varying = kind[kind > CONSTANT]
            kind.clamp_(min=LEAST_DEVIATION * float(varying.median()) if len(varying) else 1.0)
        return cls(mean, deviation)

    def apply_(self, features: Tensor) -> Tensor:
        """Return features (N, D) standardized, in place."""
        return features.sub_(self.mean).div_(self.deviation)

    def undo(self, head: LinearHead) -> LinearHead:
        """Return the head that answers for the features themselves what `head` answers for standardized ones."""
        weight = head.weight / self.deviation
        return LinearHead(weight, head.bias - weight @ self.mean)


def deal_folds(labels: Sequence[int], groups: Sequence[str] = (), *, folds: int = FOLDS, seed: int = 0) -> Tensor:
    """Return the part of every image, int64 (N,): labels and images are spread evenly, and images of one group stay together.

    The largest groups are dealt first, each to the part that has the fewest images of its labels, and of those the fewest images.

    Args:
        labels: of the images, N of them.
        groups: names of their groups, where '' is a group of its own; empty without groups.
        folds: parts, fewer where there are fewer groups.
        seed: of the order.
    """
    order: list[int] = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    together: dict[str | int, list[int]] = {}
    for index in order:
        together.setdefault((groups[index] if groups else "") or index, []).append(index)
    everywhere = Counter(labels)
    of_label = [Counter[int]() for _ in range(min(folds, len(together)))]
    images = [0] * len(of_label)
    found = torch.zeros(len(labels), dtype=torch.int64)
    for members in sorted(together.values(), key=lambda each: (-len(each), labels[each[0]])):
        counts = Counter(labels[index] for index in members)
        # A part without images is the first to be chosen: none is left empty.
        shares = [(label, count / everywhere[label]) for label, count in counts.items()]
        alike = [sum(there[label] * share for label, share in shares) for there in of_label]
        part = min(range(len(images)), key=lambda place: (alike[place], images[place]))
        found[members] = part
        of_label[part].update(counts)
        images[part] += len(members)
    return found


def _loss(logits: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    if activation == "softmax":
        return -(targets * F.log_softmax(logits, dim=1)).sum(1).mean()
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1).mean()
