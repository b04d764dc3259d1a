"""Pixels, masks and boxes follow one description of what was done to the plane."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label, Labels
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import PlaneChange, cropped, from_centers, mirrored, scaled, unchanged
from dataloader.targets.unknown import Unknown

COLOR = np.array([250, 20, 30], dtype=np.uint8)


def scene(height: int, width: int, top: int, left: int, side: int) -> tuple[np.ndarray, Mask, Boxes]:
    """Return a colored square on black, its mask and its box."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[top : top + side, left : left + side] = COLOR
    mask = Mask((image[..., 0] > 0).astype(np.uint8))
    bottom, right = min(height, top + side), min(width, left + side)
    return image, mask, Boxes(np.array([[left, top, right, bottom]], dtype=np.float32), np.array([1]), (height, width))


def box_of(ids: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(ids == 1)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@st.composite
def exact_changes(draw: st.DrawFn, size: tuple[int, int]) -> list[PlaneChange]:
    """Return a chain of changes that move whole pixels: mirror, crop, pad, enlarge by whole factors."""
    chain: list[PlaneChange] = []
    for kind in draw(st.lists(st.sampled_from(["mirror", "crop", "pad", "double"]), max_size=5)):
        height, width = size
        if kind == "mirror":
            change = mirrored(size)
        elif kind == "double":
            change = scaled(size, (2 * height, 2 * width)) if max(size) < 100 else unchanged(size)
        else:
            top, left = draw(st.integers(0, 5)), draw(st.integers(0, 5))
            sign = 1 if kind == "crop" else -1
            change = cropped(sign * top, sign * left, (max(1, height - sign * top), max(1, width - sign * left)))
        chain.append(change)
        size = change.size
    return chain


def redone(image: np.ndarray, change: PlaneChange) -> np.ndarray:
    """Return the change done to pixels in another way: color by color, as images of numbers."""
    return np.stack([change.move_ids(image[..., channel], 0) for channel in range(3)], axis=-1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_image_mask_and_box_stay_aligned_to_the_pixel_through_any_chain(data: st.DataObject) -> None:
    image, mask, boxes = scene(30, 40, data.draw(st.integers(5, 15)), data.draw(st.integers(5, 20)), 10)
    boxes = Boxes(boxes.corners, boxes.classes, boxes.size, least_visible=0.0)
    for change in data.draw(exact_changes((30, 40))):
        image, mask, boxes = redone(image, change), mask.moved(change), boxes.moved(change)
    assert ((image == COLOR).all(-1) == (mask.ids == 1)).all()
    if (mask.ids == 1).any():
        assert boxes.corners[0].tolist() == box_of(mask.ids)
    else:
        assert not len(boxes.corners)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_chain_is_one_change(data: st.DataObject) -> None:
    _, mask, _ = scene(30, 40, 8, 12, 10)
    step_by_step, whole = mask, unchanged((30, 40))
    for change in data.draw(exact_changes((30, 40))):
        step_by_step, whole = step_by_step.moved(change), whole.then(change)
    at_once = mask.moved(whole)
    inside = step_by_step.ids != mask.ignore
    assert at_once.ids.shape == step_by_step.ids.shape
    # A pixel that was cut away and padded again is lost step by step alone.
    assert (at_once.ids == step_by_step.ids)[inside].all()


def test_pixels_that_come_from_outside_are_ignored() -> None:
    _, mask, _ = scene(10, 10, 2, 2, 4)
    moved = mask.moved(cropped(-3, -2, (16, 14)))
    assert (moved.ids == mask.ignore).sum() == 16 * 14 - 100
    assert (moved.ids[3:13, 2:12] == mask.ids).all()


@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0, -45.0])
def test_a_rotation_moves_image_mask_and_box_alike(degrees: float) -> None:
    image, mask, boxes = scene(81, 81, 30, 36, 15)
    matrix = cv2.getRotationMatrix2D((40, 40), degrees, 1.0)
    change = from_centers(matrix, (81, 81))
    turned = cv2.warpAffine(image, matrix, (81, 81), flags=cv2.INTER_NEAREST)
    moved = mask.moved(change)
    assert ((turned[..., 0] > 0) != (moved.ids == 1)).sum() <= 2
    assert np.abs(boxes.moved(change).corners[0] - box_of(moved.ids)).max() < 1.5


def test_the_way_back_brings_points_home() -> None:
    change = from_centers(cv2.getRotationMatrix2D((10, 7), 33.0, 1.3), (40, 50)).then(scaled((40, 50), (20, 99)))
    points = np.random.default_rng(0).uniform(0, 40, (9, 2))
    assert change.undone((40, 50)).move_points(change.move_points(points)) == pytest.approx(points)


def test_a_reduced_mask_has_the_class_under_each_center() -> None:
    ids = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert Mask(ids).moved(scaled((6, 8), (3, 4))).ids.tolist() == ids[1::2, 1::2].tolist()
    assert Mask(ids).moved(scaled((6, 8), (12, 16))).ids.tolist() == ids.repeat(2, 0).repeat(2, 1).tolist()


def test_boxes_are_clipped_and_hardly_visible_ones_dropped() -> None:
    boxes = Boxes(np.array([[0, 0, 10, 10], [0, 0, 100, 100], [95, 95, 100, 100]], dtype=np.float32), np.array([3, 4, 5]), (100, 100))
    moved = boxes.moved(cropped(9.5, 0, (50, 50)))
    assert moved.classes.tolist() == [4], "5% of the first and nothing of the last are left"
    assert moved.corners.tolist() == [[0, 0, 50, 50]]
    assert boxes.nothing().moved(unchanged((9, 9))).corners.shape == (0, 4)


def test_targets_of_the_whole_image_follow_no_geometry() -> None:
    change = mirrored((4, 4))
    for target in (Label(2), Labels(np.ones(3, dtype=np.float32)), Unknown()):
        assert not target.is_spatial
        assert target.moved(change) is target


def test_stacks_have_the_type_of_their_kind() -> None:
    assert Label.stack([Label(2), Label(0)]).tolist() == [2, 0]
    labels = Labels.stack([Labels(np.array([1.0, 0.5]))] * 3)
    assert (labels.shape, labels.dtype) == ((3, 2), torch.float32)
    masks = Mask.stack([Mask(np.zeros((4, 5), dtype=np.uint16))] * 2)
    assert (masks.shape, masks.dtype) == ((2, 4, 5), torch.uint16)
    assert Unknown.stack([Unknown()] * 2).shape == (2, 0)
    one = Boxes(np.array([[1, 2, 3, 4]], dtype=np.float32), np.array([7]), (5, 6))
    none = one.nothing()
    batch = Boxes.stack([one, none, one])
    assert (len(batch), batch.counts.tolist()) == (3, [1, 0, 1])
    assert batch.of(1)[0].shape == (0, 4)
    assert batch.to("cpu").of(2)[0].tolist() == [[1, 2, 3, 4]]
