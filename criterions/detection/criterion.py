"""The loss of detection: objectness at every place, classes and boxes where an object was assigned."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from criterions import ASSIGNMENTS, BOX_LOSSES, WEIGHTERS
from criterions.detection.anchor_match import AnchorMatch
from criterions.detection.assignment import Assignment, Objects, Predictions
from criterions.detection.box_losses import L1, BoxLoss, IoU, Lost, Matched, OffsetLoss
from criterions.detection.simota import SimOTA
from criterions.elementwise import ActivationName
from criterions.weighted import Criterion, build_criterion, call_with_spec
from criterions.weighters.weighter import ClassWeighter
from utils.errors import UserError
from utils.spec import Spec

Assign = Callable[[Predictions, Objects], Assignment]
# Weighters after whose paper the loss is a mean over all places, rather than over those with an object.
OVER_PLACES = frozenset({"ghm"})
# Parts of the loss, as a run reports them.
PARTS = ("objectness", "class", "box")


class DetectionLoss(NamedTuple):
    """The loss of a batch.

    Attributes:
        mean: scalar, the sum over all places divided by `held`.
        parts: the same apart, by the names of PARTS, detached.
        held: scalar, how many places have an object; an image without any counts as one. Over several batches, or processes with a part of
            a batch each, the sums belong over the sum of these.
    """

    mean: Tensor
    parts: dict[str, Tensor]
    held: Tensor


class DetectionCriterion(nn.Module):
    """The sum over the places of all images of objectness, class and box losses, divided by the number of places that have an object.

    An image's terms count by its weight. A batch without objects has a loss of objectness alone.

    Args:
        objectness: of rows (N * A, 1); its weighters compare places.
        classes: of rows (P, C), the pairs; the true class is asked to say how well the box fits.
        boxes: losses of the pairs, added.
        assign: places for objects; None for SimOTA, and for networks with anchors `AnchorMatch`.
        over_places: whether objectness is the mean over all places.

    Attributes:
        late: whether the absolute differences of offsets are added, as in the last epochs of YOLOX.
        activation: 'sigmoid', for exported files.
    """

    activation: ActivationName = "sigmoid"

    def __init__(
        self,
        objectness: Criterion,
        classes: Criterion,
        boxes: Mapping[str, BoxLoss],
        *,
        assign: Assign | None = None,
        over_places: bool = False,
    ) -> None:
        super().__init__()
        self.objectness = objectness
        self.classes = classes
        self.boxes = nn.ModuleDict({name.replace(".", "_"): loss for name, loss in boxes.items()})
        self.late = False
        self._assign = assign
        self._over_places = over_places

    def forward(
        self,
        said: Predictions,
        corners: Tensor,
        classes: Tensor,
        counts: Tensor,
        weights: Tensor,
        *,
        crowd: Tensor | None = None,
        record: bool = True,
    ) -> DetectionLoss:
        """Return the loss. Nothing is read from the device.

        Args:
            said: by the network, of N images.
            corners: float (K, 4) of left, top, right, bottom in pixels, of all images.
            classes: int64 (K,).
            counts: int64 (N,), objects of each image.
            weights: (N,), of the images.
            crowd: bool (K,), boxes of many objects, which are not trained on: places in them are asked for nothing.
            record: whether weighters with counts count this batch.
        """
        with torch.autocast(said.boxes.device.type, enabled=False):
            weights = weights.to(said.boxes.dtype)
            objects = Objects.of(corners, classes, counts, crowd)
            pairs = self._assigned(said, objects)
            found = pairs.valid.to(weights.dtype)
            # Images without objects say as much as those with one: a divisor of 1 would make their step a hundred times as long.
            held = _by_image(found, objects, pairs, len(weights)).clamp(min=1).sum()
            taken, asked = _asked(said, pairs)
            whole = self._objectness(said, taken, weights[:, None] * asked, record=record, held=held)
            shares = weights[objects.images[pairs.rows]] * found
            # Without objects, too: other processes may wait for the counts of a loss, and for the gradient of every parameter.
            boxed = torch.where(pairs.valid, self._boxed(said, objects, pairs, record=record) * shares, 0.0).sum() / held
            logits, wanted = _class_answers(said, objects, pairs)
            named = self.classes(logits, wanted, shares, record=record) * len(shares) / held if len(shares) else logits.sum()
        parts = (whole, named, boxed)
        return DetectionLoss(torch.stack(parts).sum(), {name: part.detach() for name, part in zip(PARTS, parts, strict=True)}, held)

    @torch.no_grad()
    def of_images(self, said: Predictions, corners: Tensor, classes: Tensor, counts: Tensor, *, crowd: Tensor | None = None) -> Tensor:
        """Return the loss of every image by itself, (N,), divided by its own places with an object, at least one.

        This is what evaluation reports: with cross entropies for objectness and classes, and without weighters, smoothed targets and the
        late loss, so that it can be compared between runs, and depends on no other image.
        """
        with torch.autocast(said.boxes.device.type, enabled=False):
            objects = Objects.of(corners, classes, counts, crowd)
            pairs = self._assigned(said, objects)
            taken, asked = _asked(said, pairs)
            terms = self.objectness.plain(said.objectness.reshape(-1, 1), taken.reshape(-1, 1)).reshape(taken.shape)
            total = (terms * asked).sum(1)
            found = pairs.valid.to(total.dtype)
            logits, wanted = _class_answers(said, objects, pairs)
            matched = Matched.of(said, objects, pairs)
            boxed = torch.stack([loss.factor * loss.plain(matched) for loss in self._box_losses()]).sum(0)
            of_pairs = torch.where(pairs.valid, self.classes.plain(logits, wanted) + boxed, 0.0)
            total = total + _by_image(of_pairs, objects, pairs, len(total))
            return total / _by_image(found, objects, pairs, len(total)).clamp(min=1)

    def _assigned(self, said: Predictions, objects: Objects) -> Assignment:
        if not len(objects.classes):
            return Assignment.nothing(said)
        assign = self._assign or (SimOTA() if said.anchors is None else AnchorMatch())
        return assign(said, objects)

    def _box_losses(self) -> list[BoxLoss]:
        return [loss for loss in self.boxes.values() if isinstance(loss, BoxLoss)]

    def _boxed(self, said: Predictions, objects: Objects, pairs: Assignment, *, record: bool) -> Tensor:
        """Return the losses of boxes of every pair, (P,)."""
        losses = self._box_losses()
        by_offsets = any(isinstance(loss, OffsetLoss) for loss in losses)
        if self.late and not any(isinstance(loss, L1) for loss in losses):
            losses.append(L1())
            by_offsets = True
        matched = Matched.of(said, objects, pairs)
        if said.anchors is not None and not by_offsets:
            losses.append(Lost())
        return torch.stack([loss.factor * loss(matched, record=record) for loss in losses]).sum(0)

    def _objectness(self, said: Predictions, wanted: Tensor, weights: Tensor, *, record: bool, held: Tensor) -> Tensor:
        """Return the loss of objectness for targets and weights (N, A)."""
        rows = said.objectness.reshape(-1, 1)
        mean = self.objectness(rows, wanted.reshape(-1, 1), weights.flatten(), record=record)
        return mean if self._over_places else mean * len(rows) / held


def _asked(said: Predictions, pairs: Assignment) -> tuple[Tensor, Tensor]:
    """Return which places have an object, 0 or 1, and which are asked whether they have, bool, both (N, A)."""
    found = pairs.valid.to(said.objectness.dtype)
    taken = torch.zeros_like(said.objectness).flatten().index_add(0, pairs.places, found).reshape(said.objectness.shape)
    return taken, ~pairs.ignored | (taken > 0)


def _class_answers(said: Predictions, objects: Objects, pairs: Assignment) -> tuple[Tensor, Tensor]:
    """Return the logits of the classes and what is wanted of them, for every pair (P, C)."""
    one_hot = objects.classes[pairs.rows][:, None] == torch.arange(said.classes.shape[2], device=said.classes.device)
    return said.classes.flatten(0, 1)[pairs.places], one_hot * pairs.quality[:, None]


def _by_image(values: Tensor, objects: Objects, pairs: Assignment, images: int) -> Tensor:
    """Return the sums (N,) of values (P,) over the pairs of every image."""
    return torch.zeros(images, dtype=values.dtype, device=values.device).index_add_(0, objects.images[pairs.rows], values)


def build_detection_criterion(
    spec: Sequence[Spec],
    *,
    classes: Sequence[str] = (),
    class_counts: Sequence[float] = (),
    class_shares: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    logit_adjust: float | None = None,
    jsd: float | None = None,
) -> DetectionCriterion:
    """Build the loss of detection from a chain: the loss of objectness, weighters, an assignment, losses of boxes.

    Weighters of classes weigh the classes of objects, the others the places of objectness. Without a loss of boxes it is `iou`.

    Args:
        spec: such as 'focal_bce(alpha=0.25)|ghm|simota(radius=1.5)|giou|l1'.
        classes, class_counts, class_shares: as `build_criterion` takes them, with boxes for samples.
        label_smoothing: of the classes.
        logit_adjust, jsd: as `build_criterion` takes them; for softmax alone.

    Raises:
        UserError: a name, an argument, a file or a value cannot be used.
    """
    boxes = {part.name: call_with_spec(BOX_LOSSES.resolve(part.name), part) for part in spec if part.name in BOX_LOSSES}
    assignments = [part for part in spec if part.name in ASSIGNMENTS]
    if len(assignments) > 1:
        raise UserError(f"--criterion: {assignments[0]} and {assignments[1]} both say which places are whose; give one of them")
    loss, *weighters = [part for part in spec if part.name not in BOX_LOSSES and part.name not in ASSIGNMENTS]
    of_classes = [part for part in weighters if _is_of_classes(part)]
    facts: dict[str, Any] = {"classes": classes, "class_counts": class_counts, "class_shares": class_shares}
    objectness = build_criterion([loss, *(part for part in weighters if part not in of_classes)], logit_adjust=logit_adjust, jsd=jsd)
    if objectness.activation != "sigmoid":
        raise UserError(f"--criterion {loss}: whether there is an object is asked with a sigmoid; take bce, focal_bce or poly1_bce")
    named = build_criterion([Spec("bce"), *of_classes], label_smoothing=label_smoothing, **facts)
    return DetectionCriterion(
        objectness,
        named,
        boxes or {"iou": IoU()},
        assign=call_with_spec(ASSIGNMENTS.resolve(assignments[0].name), assignments[0]) if assignments else None,
        over_places=any(part.name in OVER_PLACES for part in weighters),
    )


def _is_of_classes(part: Spec) -> bool:
    kind = WEIGHTERS.resolve(part.name)
    return isinstance(kind, type) and issubclass(kind, ClassWeighter)
