"""Which boxes are answered: those of the plain rule, whatever shortcuts are taken; in the plane of the original image."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from applications.tasks.box_answers import Choice, answer_of, chosen_boxes
from dataloader.images.preprocess import Preprocess


def said(seed: int, places: int, classes: int, *, clusters: int = 12) -> Tensor:
    """Return what a network might say: boxes in clusters, (A, 5 + C)."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.rand(clusters, 2, generator=generator) * 300
    own = torch.randint(0, clusters, (places,), generator=generator)
    sizes = 20 + 40 * torch.rand(places, 2, generator=generator)
    middle = middles[own] + torch.randn(places, 2, generator=generator) * 8
    scores = torch.rand(places, 1 + classes, generator=generator) ** 3
    return torch.cat([middle - sizes / 2, middle + sizes / 2, scores], 1)


def by_the_rule(told: Tensor, choice: Choice) -> tuple[Tensor, Tensor, Tensor]:
    """Return corners, scores and classes of every box, the surest first, those that a surer one overlaps too much left out."""
    scores = told[:, 5:] * told[:, 4:5]
    rows, classes = (scores >= choice.confidence).nonzero(as_tuple=True)
    values = scores[rows, classes]
    groups = torch.zeros_like(classes) if choice.agnostic else classes
    kept = batched_nms(told[rows, :4].double(), values.double(), groups, choice.overlap)[: choice.most]
    return told[rows[kept], :4], values[kept], classes[kept]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("confidence", "most"), [(0.001, 300), (0.001, 20), (0.3, 300), (0.99, 300)])
@pytest.mark.parametrize("places", [40, 1500])
def test_boxes_are_those_of_the_plain_rule(places: int, confidence: float, most: int, agnostic: bool) -> None:
    told, choice = said(places, places, 3), Choice(confidence, 0.5, most, agnostic)
    found = chosen_boxes(told, choice)
    for ours, theirs in zip(found, by_the_rule(told, choice), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_more_candidates_are_looked_at_where_most_of_the_first_are_doubles() -> None:
    told, choice = said(3, 3000, 2, clusters=40), Choice(0.001, 0.1, 60)
    found = chosen_boxes(told, choice)
    torch.testing.assert_close(found.scores, by_the_rule(told, choice)[1], rtol=0, atol=0)


def test_an_overlap_of_one_keeps_all() -> None:
    told = said(0, 50, 2)
    assert len(chosen_boxes(told, Choice(0.0, 1.0, 1000)).scores) == 100


def test_each_class_has_its_own_least_score() -> None:
    told = said(0, 200, 2)
    found = chosen_boxes(told, Choice(0.0, thresholds=(0.5, 2.0)))
    assert set(found.classes.tolist()) == {0}
    assert float(found.scores.min()) >= 0.5


def test_boxes_come_back_to_the_original_image_and_end_at_its_border() -> None:
    preprocess = Preprocess((64, 64), "fit", (0.0,) * 3, (1.0,) * 3)
    back = preprocess.change((50, 100)).undone((50, 100))
    # The image lies in rows 16 to 48 of what the network sees.
    told = torch.tensor([[16.0, 24, 48, 40, 1, 0.9], [-10, 0, 32, 64, 1, 0.8], [0, 0, 10, 10, 1, 0.7]])
    answer = answer_of(told, Choice(0.1), back)
    np.testing.assert_allclose(answer.corners, [[25, 12.5, 75, 37.5], [0, 0, 50, 50]], atol=0.5)
    assert answer.classes.tolist() == [0, 0]


def test_no_box_reaches_the_confidence() -> None:
    answer = answer_of(said(0, 20, 3), Choice(0.9999))
    assert answer.corners.shape == (0, 4)
