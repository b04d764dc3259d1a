"""A detector that makes no mistake: it frames every rectangle of one brightness, whose class is the color."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from applications import assemble
from applications.assemble import Machine
from applications.settings.options import RunConfig
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector
from applications.trained.checkpoint import Trained
from criterions.detection.criterion import build_detection_criterion
from dataloader.images.preprocess import Preprocess
from utils.runtime import Precision
from utils.spec import parse_specs

CLASSES = ("red", "green", "blue")
SCORE = 0.9


class FindsRectangles(nn.Module):
    """Frames the connected rectangles of each channel as far as they can be seen: images (N, 3, H, W) to (N, A, 5 + 3)."""

    def forward(self, images: Tensor) -> Tensor:
        found = [self._boxes(image) for image in (images > 0.3).numpy()]
        most = max(1, *map(len, found))
        said = torch.zeros(len(found), most, 8)
        for row, boxes in enumerate(found):
            if boxes:
                said[row, : len(boxes)] = torch.tensor(boxes)
        return said

    @staticmethod
    def _boxes(image: np.ndarray) -> list[list[float]]:
        rows = []
        for label, plane in enumerate(image):
            _, _, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8))
            for left, top, width, height, _ in stats[1:].tolist():
                # Without rounding at the border, the surest is the one of which most is seen.
                score = SCORE + 1e-6 * width * height / image[0].size
                rows.append([left, top, left + width, top + height, score, *(float(label == each) for each in range(3))])
        return rows


def perfect_detector(side: int | tuple[int, int], *, tiled: bool = False) -> ImageDetector:
    """Return the detector with images of a size, in this process."""
    size = (side, side) if isinstance(side, int) else side
    preprocess = Preprocess(size, "fit", (0.0,) * 3, (1.0,) * 3)
    device = torch.device("cpu")
    task = Detect(CLASSES, build_detection_criterion(parse_specs("bce|iou"), classes=CLASSES), preprocess, device)
    task.confidence = 0.5
    trained = Trained(
        path=Path("rectangles.pt"), task="detect", config=RunConfig(), classes=CLASSES, preprocess=preprocess, model=FindsRectangles(),
        averaging=None, epoch=1,
    )  # fmt: skip
    return ImageDetector(trained, task, Machine(assemble.single_process(), device, Precision("fp32", False, "")), tiled)


def draw(size: tuple[int, int], boxes: list[tuple[int, int, int, int]], labels: list[int]) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with rectangles, (left, top, right, bottom), in the colors of their classes."""
    image = np.zeros((*size, 3), np.uint8)
    for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
        image[top:bottom, left:right, label] = 255
    return image
