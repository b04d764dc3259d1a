"""What is known of boxes besides their corners follows them."""

import numpy as np
import pytest
import torch

from dataloader.targets.boxes import Boxes
from dataloader.targets.plane_change import Size, cropped, mirrored, rotated, scaled


def boxes(size: Size = (100, 100)) -> Boxes:
    corners = np.array([[10, 20, 30, 60], [50, 50, 90, 90], [80, 0, 100, 10]], np.float32)
    return Boxes(corners, np.array([3, 4, 5]), size, crowd=np.array([False, True, False]), areas=np.array([800, 900, 50], np.float32))


def test_areas_are_those_of_the_boxes_and_nothing_is_a_crowd_unless_given() -> None:
    plain = Boxes(boxes().corners, boxes().classes, (100, 100))
    assert plain.areas.tolist() == [800, 1600, 200]
    assert not plain.crowd.any()


def test_areas_are_scaled_with_the_plane_and_clipped_with_their_boxes() -> None:
    assert boxes().moved(scaled((100, 100), (50, 300))).areas.tolist() == [1200, 1350, 75]
    assert boxes().moved(mirrored((100, 100))).areas.tolist() == [800, 900, 50]
    # The lower half of the first box is left, a quarter of the second, nothing of the third.
    halved = boxes().moved(cropped(40, 0, (30, 70)))
    assert halved.areas.tolist() == [400, 225]
    assert halved.crowd.tolist() == [False, True]


def test_a_turned_object_keeps_its_area_though_its_upright_box_grows() -> None:
    turned = boxes().moved(rotated(45, (100, 100)))
    assert turned.areas[0] == pytest.approx(800, rel=1e-5)
    assert (turned.corners[0, 2:] - turned.corners[0, :2]).prod() == pytest.approx(1800, rel=1e-5)


def test_boxes_without_area_are_dropped_by_any_change() -> None:
    flat = Boxes(np.array([[10, 10, 10, 20]], np.float32), np.array([0]), (50, 50))
    assert len(flat.moved(scaled((50, 50), (100, 100)))) == 0


def test_a_batch_gives_the_boxes_that_are_learned_with_the_counts_of_their_images() -> None:
    batch = Boxes.stack([boxes().nothing(), boxes(), boxes().chosen(np.array([1])), boxes()])
    learned = batch.learned()
    assert learned.counts.tolist() == [0, 2, 0, 2]
    assert learned.classes.tolist() == [3, 5, 3, 5]
    assert not learned.crowd.any()
    assert torch.equal(learned.areas, torch.tensor([800.0, 50, 800, 50]))
    rows = batch.rows(2)
    assert batch.crowd[rows].tolist() == [True]
