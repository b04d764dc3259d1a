"""Anchors by the boxes of the training data (--anchors auto)."""

import numpy as np
import torch
from torch import nn

from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from dataloader.targets.boxes import Boxes
from models.detectors.anchors import PUBLISHED, cluster, fit
from models.detectors.encoder_detector import EncoderDetector
from models.detectors.yolov3 import YoloV3Decoder
from utils.logs import log


def set_auto_anchors(model: nn.Module, split: Split, preprocess: Preprocess, *, seed: int) -> None:
    """Give a detector anchors of the shapes that the training boxes have, as it sees them, in place, and say how well they fit.

    Args:
        model: with anchors.
        split: the training images.
        preprocess: what becomes of their size.
        seed: of the starts of k-means.

    Raises:
        UserError: there are too few boxes.
    """
    assert isinstance(model, EncoderDetector)
    assert isinstance(model.decoder, YoloV3Decoder)
    sizes = _sizes(split, preprocess)
    anchors = cluster(sizes, seed=seed)
    with torch.no_grad():
        model.decoder.anchors.copy_(torch.from_numpy(anchors))
    shown = " ".join(f"{width:.0f}x{height:.0f}" for width, height in anchors)
    log().info(
        f"          anchors {shown} by the sizes of {len(sizes):,} boxes, which overlap with them by {fit(sizes, anchors):.1%}; "
        f"with those of COCO by {fit(sizes, np.array(PUBLISHED)):.1%}"
    )


def _sizes(split: Split, preprocess: Preprocess) -> np.ndarray:
    """Return width and height of every training box that is no crowd, as the network sees it, (K, 2)."""
    found = [np.zeros((0, 2))]
    for index in range(len(split)):
        boxes = split.target(index)
        assert isinstance(boxes, Boxes)
        seen = boxes.moved(preprocess.change(boxes.size))
        corners = seen.corners[~seen.crowd].astype(np.float64)
        found.append(corners[:, 2:] - corners[:, :2])
    return np.concatenate(found)
