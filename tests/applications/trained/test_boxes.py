"""A detector that makes no mistake finds every object of an image once, whole, in tiles and by several views."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from applications.tasks.box_answers import BoxAnswer, Choice
from applications.trained.joined_tiles import joined
from applications.trained.viewed_networks import JoinedBoxes
from applications.trained.views import parse_views
from models.backbone import Network
from tests.applications.trained.rectangles import FindsRectangles, draw, perfect_detector

TILED = perfect_detector(64, tiled=True)
IMAGE = (90, 150)


@pytest.mark.parametrize("sides", [(6, 6), (16, 16), (20, 8), (8, 40), (47, 47), (63, 3), (64, 64), (100, 30), (149, 89)])
def test_every_object_is_found_once_wherever_tiles_cut_it(sides: tuple[int, int]) -> None:
    width, height = sides
    for left in range(0, IMAGE[1] - width + 1, 11):
        for top in range(0, IMAGE[0] - height + 1, 13):
            box = (left, top, left + width, top + height)
            found = TILED.boxes(draw(IMAGE, [box], [1]), TILED.task.answered)
            assert len(found.scores) == 1, (box, found.corners)
            np.testing.assert_allclose(found.corners[0], box)
            assert found.classes.tolist() == [1]


def test_neighbors_at_the_border_of_a_tile_stay_apart() -> None:
    # Tiles of 64 pixels begin at 0, 43 and 86.
    boxes, labels = [(30, 10, 58, 40), (60, 10, 90, 40), (40, 50, 70, 80), (40, 52, 70, 78)], [0, 0, 1, 2]
    found = TILED.boxes(draw(IMAGE, boxes, labels), TILED.task.answered)
    assert sorted(map(tuple, found.corners.astype(int).tolist())) == sorted(boxes)


def test_a_sure_part_does_not_give_way_to_a_doubtful_box_around_it() -> None:
    def answer(*rows: tuple[float, float, float, float, float]) -> BoxAnswer:
        table = np.array(rows, np.float32).reshape(-1, 5)
        return BoxAnswer(table[:, :4], table[:, 4], np.zeros(len(table), np.int64))

    parts = [answer((50, 10, 64, 20, 0.8), (0, 0, 64, 60, 0.01)), answer()]
    found = joined(parts, [(0, 0), (0, 36)], (64, 64), (64, 100), Choice(0.001))
    assert found.scores.tolist() == pytest.approx([0.8, 0.01])


class AnySize(FindsRectangles, Network):
    """The detector as a network of this program."""

    def check_size(self, image_size: tuple[int, int]) -> None:
        assert min(image_size) > 0

    def published_part(self, arch: str) -> tuple[Network, str]:
        return self, arch

    def get_classifier(self) -> nn.Linear:
        raise NotImplementedError

    def get_head(self) -> nn.Module:
        return self


@pytest.mark.parametrize("views", ["hflip", "vflip", "hflip|vflip", "scale(0.5,2)|hflip"])
def test_views_find_an_object_once_at_its_place(views: str) -> None:
    detector = perfect_detector(64)
    several = replace(detector, trained=replace(detector.trained, model=JoinedBoxes(AnySize(), parse_views(views, (64, 64)))))
    boxes = [(8, 4, 32, 24), (40, 30, 60, 62)]
    found = several.boxes(draw((64, 64), boxes, [0, 2]), detector.task.answered)
    assert len(found.scores) == 2
    order = np.argsort(found.classes)
    np.testing.assert_allclose(found.corners[order], boxes, atol=2)
