"""Targets drawn on their images."""

import numpy as np
import torch

from applications.dataset import drawn_targets
from dataloader.sample import Batch
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from utils.drawing.mask_pictures import class_colors


def test_boxes_are_drawn_on_images_large_enough_to_read_their_names() -> None:
    boxes = Boxes(np.array([[2, 2, 12, 10], [4, 12, 14, 15]], np.float32), np.array([1, 0]), (16, 16), crowd=np.array([False, True]))
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    batch = Batch(images, Boxes.stack([boxes, boxes.nothing()]), torch.ones(2), torch.arange(2))
    first, second = drawn_targets.pictures_of(batch, Boxes, ["cat", "dog"])
    assert first.shape == (320, 320, 3), "every pixel twenty times"
    assert not second.any()
    frame = tuple(class_colors(2)[1].tolist())
    assert tuple(first[100, 40].tolist()) == tuple(first[199, 200].tolist()) == frame
    assert tuple(first[290, 80].tolist()) == drawn_targets.GRAY, "a crowd"
    assert not first[30:39, :30].any()


def test_masks_are_drawn_in_the_colors_of_their_classes_and_labels_are_not_drawn() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    masks = Mask.stack([Mask(np.repeat(np.array([[0, 1]], np.uint8), 2, 1).repeat(4, 0))])
    (shown,) = drawn_targets.pictures_of(Batch(images, masks, torch.ones(1), torch.arange(1)), Mask, ["cat", "dog"])
    assert shown[0, 0].any()
    assert tuple(shown[0, 0]) != tuple(shown[0, 3])
    (plain,) = drawn_targets.pictures_of(Batch(images, torch.zeros(1, dtype=torch.int64), torch.ones(1), torch.arange(1)), Label, ["cat"])
    assert not plain.any()
