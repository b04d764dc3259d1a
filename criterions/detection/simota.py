"""SimOTA (arXiv 2107.08430, section 2.1): each object takes the places that cost it least, as many as overlap with it.

It is computed for all images at once: a matrix of K objects x A places, of which every object is compared with those of its image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.detection.assignment import Assignment, Objects, Predictions, any_of_image, contains, in_crowds, overlaps
from utils.errors import UserError

IOU_FACTOR = 3.0
# Of a place that is not both inside the box and near its middle.
OUTSIDE = 1e5
# As torch limits the logarithms of a cross entropy.
MAX_LOSS = 100.0
# Entries of the matrix that are computed at a time: one image may hold thousands of objects.
LARGEST = 1 << 25


@dataclass(frozen=True)
class SimOTA:
    """Places for objects, by cost.

    The cost of a place is the cross entropy of its class, 3 x -log of its IoU, and 1e5 where it is not both inside the box and near its
    middle. An object takes as many places as the sum of its `top` best overlaps says, at least one; of several objects that want a place,
    the one whom it costs least has it.

    Attributes:
        radius: how near is near, in strides.
        top: how many overlaps are added up, and the most places of an object.
    """

    radius: float = 2.5
    top: int = 10

    def __post_init__(self) -> None:
        if not self.radius > 0 or not isinstance(self.top, int) or self.top < 1:
            raise UserError(
                f"--criterion simota(radius={self.radius}, top={self.top}): write a radius above 0 and a whole number from 1 on"
            )

    @torch.no_grad()
    def __call__(self, said: Predictions, objects: Objects) -> Assignment:
        """Return the pairs, top for every object; there is at least one object."""
        images, places = said.objectness.shape
        count, top = len(objects.classes), min(self.top, places)
        step = max(1, LARGEST // places)
        chunks = [slice(start, start + step) for start in range(0, count, step)]
        candidates = torch.zeros(images, places, dtype=torch.bool, device=said.boxes.device)
        for part in chunks:
            inside, near = self._position(said, objects, part)
            candidates |= any_of_image(inside | near, objects.images[part], images)
        terms = class_terms(said)
        cheapest = torch.full((images, places), torch.inf, device=said.boxes.device)
        owners = torch.full((images, places), count, dtype=torch.int64, device=said.boxes.device)
        chosen, wanted = [], []
        for part in chunks:
            cost, iou = self.costs(said, objects, part, candidates, terms)
            numbers = iou.topk(top, dim=1).values.sum(1).int().clamp(min=1)
            values, found = cost.topk(top, dim=1, largest=False)
            chosen.append(found)
            wanted.append((torch.arange(top, device=cost.device) < numbers[:, None]) & values.isfinite())
            _take_cheapest(cheapest, owners, cost, objects.images[part], first=part.start)
        return _settle(said, objects, torch.cat(chosen), torch.cat(wanted), owners)

    def costs(
        self, said: Predictions, objects: Objects, part: slice, candidates: Tensor, terms: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return what every place costs an object of `part`, and their IoU, both (k, A): infinity and 0 where it cannot have the place.

        Args:
            said: by the network.
            objects: of the batch.
            part: the rows that are looked at.
            candidates: places (N, A) that any object of their image may have.
            terms: as `class_terms` gives them.
        """
        inside, near = self._position(said, objects, part)
        rows = objects.images[part]
        total, changes = terms
        iou = overlaps(objects.corners[part][:, None], said.boxes[rows])
        classes = total[rows] + changes[rows, :, objects.classes[part]]
        cost = classes + IOU_FACTOR * -(iou + 1e-8).log() + OUTSIDE * ~(inside & near)
        possible = candidates[rows] & objects.trained[part][:, None]
        return cost.masked_fill(~possible, torch.inf), iou * possible

    def _position(self, said: Predictions, objects: Objects, part: slice) -> tuple[Tensor, Tensor]:
        """Return whether places lie inside the boxes, and near their middles, both bool (k, A)."""
        corners, trained = objects.corners[part], objects.trained[part][:, None]
        middles = (corners[:, :2] + corners[:, 2:]) / 2
        away = (said.points - middles[:, None]).abs().amax(2)
        return contains(corners, said.points) & trained, (away < self.radius * said.strides) & trained


def class_terms(said: Predictions) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of no class at all, (N, A), and what it becomes more by each class, (N, A, C).

    The probability of a class is the square root of class x objectness, as published.
    """
    logs = (F.logsigmoid(said.classes) + F.logsigmoid(said.objectness)[..., None]) / 2
    against = -torch.log1p(-logs.exp()).clamp(min=-MAX_LOSS)
    return against.sum(2), (-logs).clamp(max=MAX_LOSS) - against


def _take_cheapest(cheapest: Tensor, owners: Tensor, cost: Tensor, rows: Tensor, *, first: int) -> None:
    """Note the least cost of every place (N, A) and the object that has it, the first of equal ones, in place."""
    before = cheapest.clone()
    index = rows[:, None].expand_as(cost)
    cheapest.scatter_reduce_(0, index, cost, "amin")
    owners.masked_fill_(cheapest < before, torch.iinfo(torch.int64).max)
    numbers = torch.arange(first, first + len(cost), device=cost.device)[:, None]
    mine = numbers.where(cost == cheapest[rows], torch.iinfo(torch.int64).max)
    owners.scatter_reduce_(0, index, mine, "amin")


def _settle(said: Predictions, objects: Objects, chosen: Tensor, wanted: Tensor, owners: Tensor) -> Assignment:
    """Return the pairs of chosen places (K, top), of which those that are `wanted` hold: a place that several want has one owner."""
    images, places = said.objectness.shape
    numbers = (chosen + objects.images[:, None] * places).flatten()
    valid = wanted.flatten()
    asked = torch.zeros(images * places, dtype=torch.int64, device=numbers.device).index_add_(0, numbers, valid.long())
    order = torch.arange(len(numbers), device=numbers.device)
    # A place that several want is in several pairs: the first one stays, and goes to the owner.
    none = torch.iinfo(torch.int64).max
    first = torch.full_like(asked, none).scatter_reduce_(0, numbers, order.where(valid, none), "amin")
    own = order // chosen.shape[1]
    rows = torch.where(asked[numbers] > 1, owners.flatten()[numbers], own)
    valid = valid & (first[numbers] == order)
    rows = rows.where(valid, own)
    quality = overlaps(objects.corners[rows], said.boxes.flatten(0, 1)[numbers])
    return Assignment(numbers, rows, valid, quality, in_crowds(said.points, objects, images))
