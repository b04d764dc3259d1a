"""The contract of every detector: images in; boxes, objectness and classes of every place out."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from models.backbone import Network
from models.image_trial import answer_to_black
from utils.errors import UserError

# The probability that an untrained head gives every object and class (arXiv 1708.02002, section 3.3).
PRIOR = 0.01


class DetectorOutput(NamedTuple):
    """What a detector says in training, of N images at A places, in float32.

    Attributes:
        boxes: (N, A, 4) of left, top, right, bottom in pixels of the network's input.
        objectness: logits (N, A).
        classes: logits (N, A, C).
        raw: (N, A, 4), what the boxes were decoded from: x and y of the middle, in strides from the upper left corner of the place, and the
            logarithms of width and height over those of the anchor, or over the stride.
        points: (A, 2), x and y of the middle of each place, in pixels.
        strides: (A,), pixels from a place to its neighbor.
        anchors: (A, 2), width and height; None for a network without anchors.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor
    raw: Tensor
    points: Tensor
    strides: Tensor
    anchors: Tensor | None


class Detector(Network):
    """Images (N, 3, H, W), normalized -> float32 (N, A, 5 + C): left, top, right, bottom in pixels, objectness, class probabilities.

    The score of a class is objectness x its probability. In training it answers `DetectorOutput`.

    Attributes:
        arch: what the user calls it.
        num_classes: C.
        multiple: of which height and width must be multiples.
    """

    arch: str
    multiple: ClassVar[int] = 1
    has_own_prior = True

    @abstractmethod
    def predict(self, x: Tensor) -> DetectorOutput:
        """Return what the network says, in training and in evaluation."""

    def forward(self, x: Tensor) -> Tensor | DetectorOutput:
        output = self.predict(x)
        return output if self.training else self.answers(output)

    def answers(self, output: DetectorOutput) -> Tensor:
        """Return boxes, objectness and probabilities of the classes, (N, A, 5 + C)."""
        return torch.cat((output.boxes, output.objectness.sigmoid()[..., None], output.classes.sigmoid()), dim=2)

    def check_size(self, image_size: tuple[int, int]) -> None:
        """Try one black image of this (height, width), in evaluation mode.

        Raises:
            UserError: the network does not take it.
        """
        if any(side % self.multiple for side in image_size):
            fitting = " ".join(str(max(1, round(side / self.multiple)) * self.multiple) for side in image_size)
            raise UserError(
                f"{self.arch} takes images whose height and width are multiples of {self.multiple}, not {image_size[0]} x {image_size[1]}; "
                f"give --image_size {fitting}"
            )
        answer_to_black(self, image_size, name=self.arch)


def grid(maps: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the middles (A, 2) and the strides (A,) of all places of maps (N, C, h, w), row by row, in pixels of the image."""
    points, sizes = [], []
    for each, stride in zip(maps, strides, strict=True):
        height, width = each.shape[-2:]
        y = (torch.arange(height, device=each.device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(width, device=each.device, dtype=torch.float32) + 0.5) * stride
        points.append(torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=2).reshape(-1, 2))
        sizes.append(torch.full_like(points[-1][:, 0], stride))
    return torch.cat(points), torch.cat(sizes)


def corners_of(middles: Tensor, sizes: Tensor) -> Tensor:
    """Return left, top, right, bottom (..., 4) of middles and sizes (..., 2)."""
    return torch.cat((middles - sizes / 2, middles + sizes / 2), dim=-1)


def start_rare(conv: nn.Conv2d) -> None:
    """Let a convolution whose outputs are logits begin near PRIOR, since most places show nothing."""
    assert conv.bias is not None
    nn.init.constant_(conv.bias, -math.log((1 - PRIOR) / PRIOR))
