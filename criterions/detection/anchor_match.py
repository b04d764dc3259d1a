"""The assignment of YOLOv3 (arXiv 1804.02767, section 2.1): an object belongs to the anchor that is shaped most like it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from criterions.detection.assignment import Assignment, Objects, Predictions, any_of_image, in_crowds, overlaps
from utils.errors import UserError

# Entries of the matrix objects x places that are computed at a time.
LARGEST = 1 << 25


@dataclass(frozen=True)
class AnchorMatch:
    """One place an object: where its middle lies, with the anchor of the largest overlap of shapes.

    Attributes:
        ignore: a place that says a box with a larger IoU than this, for an object that belongs elsewhere, is not asked for objectness.
    """

    ignore: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.ignore <= 1:
            raise UserError(f"--criterion anchor_match(ignore={self.ignore}): write an IoU from 0 to 1; 0.5 is the paper's choice")

    @torch.no_grad()
    def __call__(self, said: Predictions, objects: Objects) -> Assignment:
        """Return one pair for every object; there is at least one.

        Raises:
            UserError: the network has no anchors.
        """
        if said.anchors is None:
            raise UserError("--criterion anchor_match: this network has no anchors; take simota, or --arch yolov3")
        images, places = said.objectness.shape
        count = len(objects.classes)
        step = max(1, LARGEST // places)
        ignored = in_crowds(said.points, objects, images)
        found, likeness = [], []
        for start in range(0, count, step):
            part = slice(start, start + step)
            best, place = self._shapes(said, said.anchors, objects.corners[part]).max(1)
            found.append(place + objects.images[part] * places)
            likeness.append(best)
            rows = objects.images[part]
            close = overlaps(objects.corners[part][:, None], said.boxes[rows]) > self.ignore
            ignored |= any_of_image(close & objects.trained[part][:, None], rows, images)
        numbers, alike = torch.cat(found), torch.cat(likeness).masked_fill(~objects.trained, -1.0)
        # Of several objects at one place the one that is shaped most like the anchor has it; of equal ones the first.
        best = torch.full((images * places,), -1.0, device=numbers.device).scatter_reduce_(0, numbers, alike, "amax")
        order = torch.arange(count, device=numbers.device)
        winner = (alike >= 0) & (alike == best[numbers])
        first = torch.full((images * places,), count, device=numbers.device).scatter_reduce_(0, numbers, order.where(winner, count), "amin")
        valid = winner & (first[numbers] == order)
        return Assignment(numbers, order, valid, torch.ones_like(alike), ignored)

    def _shapes(self, said: Predictions, anchors: Tensor, corners: Tensor) -> Tensor:
        """Return the IoU (k, A) of boxes and anchors with a common corner; -1 where the middle of the box is not at the place."""
        sizes = corners[:, 2:] - corners[:, :2]
        least, most = said.points.amin(0), said.points.amax(0)
        middles = ((corners[:, :2] + corners[:, 2:]) / 2).clamp(min=least, max=most)
        offset = (middles[:, None] - said.points) / said.strides[:, None]
        at_home = ((offset >= -0.5) & (offset < 0.5)).all(2)
        zeros = torch.zeros_like(sizes)
        alike = overlaps(torch.cat((zeros, sizes), 1)[:, None], torch.cat((torch.zeros_like(anchors), anchors), 1))
        return alike.where(at_home, -1.0)
