"""D-RISE: warm where what the box hangs on lies, cold elsewhere, whatever the rest of the image shows."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from applications.explain.boxes import in_words, judge
from applications.explain.d_rise import Asked, d_rise, likeness, random_masks
from applications.explain.methods import BOX_METHODS, METHODS, check_methods, named_methods
from utils.errors import UserError
from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes, match_boxes
from utils.randomness import torch_generator

SIDE = 64
BLACK = torch.zeros(3)


def generator() -> torch.Generator:
    return torch_generator(0)


def finder(image: Tensor, places: list[tuple[int, int, int, int]]) -> Callable[[Tensor], Tensor]:
    """Return a detector that says every place, each of a class of its own, the surer the more of its pixels are as they were."""

    def say(images: Tensor) -> Tensor:
        rows = []
        for number, (left, top, right, bottom) in enumerate(places):
            same = 1 - (images - image).abs()[:, :, top:bottom, left:right].mean((1, 2, 3)) / 255
            box = torch.tensor([left, top, right, bottom]).expand(len(images), 4)
            classes = torch.eye(len(places))[number].expand(len(images), -1)
            rows.append(torch.cat([box, same[:, None] ** 4, classes], 1))
        return torch.stack(rows, 1)

    return say


def test_the_map_of_each_box_is_high_inside_its_object() -> None:
    places = [(4, 4, 24, 24), (36, 30, 60, 58)]
    asked = Asked(torch.tensor(places).float(), torch.tensor([0, 1]))
    # White on black; what is hidden is black.
    image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    for left, top, right, bottom in places:
        image[:, top:bottom, left:right] = 255
    heat = d_rise(finder(image, places), image, BLACK, asked, masks=1000)
    assert heat.shape == (2, SIDE, SIDE)
    assert (heat.min(), heat.max()) == (0, 1)
    for own, (left, top, right, bottom) in zip(heat, places, strict=True):
        inside = np.zeros((SIDE, SIDE), bool)
        inside[top:bottom, left:right] = True
        assert own[inside].mean() > 3 * own[~inside].mean()
        assert inside[own >= np.quantile(own, 0.98)].mean() > 0.9
    again = d_rise(finder(image, places), image, BLACK, asked, masks=1000)
    np.testing.assert_array_equal(heat, again)


def test_masks_show_half_of_the_image_in_smooth_squares_and_every_pixel_alike() -> None:
    masks = random_masks(400, (50, 70), generator())
    assert masks.shape == (400, 1, 50, 70)
    assert (float(masks.min()), float(masks.max())) == (0, 1)
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.01)
    assert float((masks.mean(0) - 0.5).abs().max()) < 0.12


def test_likeness_is_that_of_the_paper_in_a_few_lines() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 40, (2, 30, 2))
    said = np.concatenate([start, start + rng.uniform(5, 20, (2, 30, 2)), rng.random((2, 30, 4))], 2)
    asked = Asked(torch.tensor([[10.0, 10, 30, 25], [0, 0, 20, 20]]), torch.tensor([2, 0]))
    found = likeness(torch.from_numpy(said).float(), asked).numpy()
    for image in range(2):
        for number, (box, label) in enumerate(zip(asked.corners.numpy(), asked.classes.tolist(), strict=True)):
            best = 0.0
            for left, top, right, bottom, objectness, *classes in said[image]:
                wide, high = min(right, box[2]) - max(left, box[0]), min(bottom, box[3]) - max(top, box[1])
                meet = max(wide, 0) * max(high, 0)
                overlap = meet / ((right - left) * (bottom - top) + (box[2] - box[0]) * (box[3] - box[1]) - meet)
                best = max(best, overlap * objectness * classes[label] / np.linalg.norm(classes))
            assert found[image, number] == pytest.approx(best, rel=1e-4)


def test_misses_and_false_boxes_are_told_and_crowds_are_neither() -> None:
    corners = np.array([[0, 0, 10, 10], [20, 0, 40, 20], [50, 50, 60, 60]], float)
    truths = TrueBoxes(np.array([0, 0, 0]), np.array([0, 1, 1]), corners, np.array([False, False, True]), np.array([100.0, 400, 100]))
    said = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [70, 70, 80, 80]], float)
    answers = AnsweredBoxes(np.array([0, 0, 1]), np.array([0, 1, 0]), said, np.array([0.5, 0.9, 0.4], np.float32))
    first, second, third = judge(match_boxes(truths, answers, np.array([0.5])), 3)
    assert first.found.tolist() == [True]
    assert (first.missed_classes.tolist(), first.mistakes, first.right) == ([1], 1, False)
    assert in_words(first.objects, ("a", "b")) == "1 a, 1 b"
    assert (second.mistakes, second.found.tolist()) == (1, [False])
    assert third.right
    assert in_words(third.objects, ("a", "b")) == "nothing"


def test_methods_of_labels_and_of_boxes_are_told_apart() -> None:
    assert named_methods("d_rise", BOX_METHODS) == ["d-rise"]
    for text, table in (("grad-cam", BOX_METHODS), ("d-rise", METHODS)):
        check_methods(text)
        with pytest.raises(UserError, match="is for models that answer"):
            named_methods(text, table)
    with pytest.raises(UserError, match="no such method"):
        check_methods("d-rice")
