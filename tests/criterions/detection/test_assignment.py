"""Who answers for whom: SimOTA and anchors, against the papers an image and an object at a time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from criterions.detection import anchor_match, simota
from criterions.detection.anchor_match import AnchorMatch
from criterions.detection.assignment import Assignment, Objects, any_of_image, overlaps
from criterions.detection.simota import SimOTA, class_terms
from tests.criterions.detection.scenes import NumpyImage, Scene, numpy_costs, numpy_iou, numpy_simota, scene
from utils.errors import UserError

# Images with and without objects, more objects than places near them, one image.
COUNTS = [(3, 0, 5), (40, 1), (1,), (0, 0, 2), (200,)]


def objects(given: Scene, crowd: Tensor | None = None) -> Objects:
    return Objects.of(given.corners, given.classes, given.counts, crowd)


def owners(given: Scene, pairs: Assignment) -> Tensor:
    """The object of every place, (N, A), -1 where there is none; no place may be in two pairs that hold."""
    places = pairs.places[pairs.valid]
    assert len(places.unique()) == len(places)
    found = torch.full((given.said.objectness.numel(),), -1)
    found[places] = pairs.rows[pairs.valid]
    return found.reshape(given.said.objectness.shape)


def all_costs(given: Scene, assign: SimOTA) -> tuple[Tensor, Tensor]:
    held = objects(given)
    inside, near = assign._position(given.said, held, slice(None))
    candidates = any_of_image(inside | near, held.images, len(given.counts))
    with torch.no_grad():
        return assign.costs(given.said, held, slice(None), candidates, class_terms(given.said))


def of_image(given: Scene, image: int) -> tuple[slice, NumpyImage]:
    """The rows of an image, and what was said of it."""
    start = int(given.counts[:image].sum())
    rows, said = slice(start, start + int(given.counts[image])), given.said
    boxes, objectness, logits = (each[image].detach().double().numpy() for each in (said.boxes, said.objectness, said.classes))
    points, strides, corners = (each.double().numpy() for each in (said.points, said.strides, given.corners[rows]))
    return rows, NumpyImage(boxes, objectness, logits, points, strides, corners, given.classes[rows].numpy())


@pytest.mark.parametrize("counts", COUNTS[:4])
def test_costs_are_those_of_the_paper(counts: tuple[int, ...]) -> None:
    given = scene(counts, seed=sum(counts))
    cost, iou = all_costs(given, SimOTA())
    for image, count in enumerate(counts):
        rows, said = of_image(given, image)
        if count:
            wanted, overlap = numpy_costs(said, 2.5)
            np.testing.assert_allclose(cost[rows], wanted, rtol=1e-4)
            np.testing.assert_allclose(iou[rows], overlap, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("largest", [1 << 25, 300])
def test_every_object_takes_the_cheapest_places_of_its_image(
    counts: tuple[int, ...], largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simota, "LARGEST", largest)
    given = scene(counts, seed=7 + sum(counts))
    cost, iou = all_costs(given, SimOTA())
    found = owners(given, SimOTA()(given.said, objects(given)))
    for image, count in enumerate(counts):
        rows, _ = of_image(given, image)
        wanted = numpy_simota(cost[rows].numpy(), iou[rows].numpy(), 10) if count else np.full(found.shape[1], -1)
        np.testing.assert_array_equal(found[image], np.where(wanted >= 0, wanted + rows.start, -1))


def test_pairs_carry_the_overlap_that_their_class_is_asked_to_say() -> None:
    given = scene((4, 6))
    pairs = SimOTA()(given.said, objects(given))
    for place, row, quality in zip(pairs.places.tolist(), pairs.rows.tolist(), pairs.quality.tolist(), strict=True):
        box = given.said.boxes.detach().flatten(0, 1)[place]
        assert quality == pytest.approx(numpy_iou(box.numpy(), given.corners[row].numpy()), abs=1e-5)


def test_fewer_places_than_top_are_enough() -> None:
    given = scene((5,), size=32)
    few = given._replace(said=given.said._replace(**{
        name: getattr(given.said, name)[:, :4] for name in ("boxes", "objectness", "classes", "raw")
    }, points=given.said.points[:4], strides=given.said.strides[:4]))  # fmt: skip
    pairs = SimOTA()(few.said, objects(few))
    assert len(pairs.places) == 5 * 4
    owners(few, pairs)


@pytest.mark.parametrize("assign", [SimOTA(), AnchorMatch()])
def test_crowds_get_no_place_and_places_in_them_are_asked_for_nothing(assign: SimOTA | AnchorMatch) -> None:
    given = scene((3, 2), anchored=True)
    crowd = torch.tensor([False, True, False, False, True])
    pairs = assign(given.said, objects(given, crowd))
    assert not crowd[pairs.rows[pairs.valid]].any()
    x, y = given.said.points.T
    for row, image in ((1, 0), (4, 1)):
        left, top, right, bottom = given.corners[row]
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        assert inside.any()
        assert pairs.ignored[image, inside].all()
    # Without the crowd the others have the same places.
    kept = ~crowd
    alone = given._replace(corners=given.corners[kept], classes=given.classes[kept], counts=torch.tensor([2, 1]))
    old = torch.cat((owners(given, pairs), torch.full((0, 0), -1).reshape(0, len(x))))
    new = owners(alone, assign(alone.said, objects(alone)))
    numbers = torch.cat((kept.nonzero()[:, 0], torch.tensor([-1])))
    torch.testing.assert_close(old, numbers[new])


@pytest.mark.parametrize("counts", [(3, 0, 5), (30, 1), (1,)])
def test_an_object_belongs_to_the_anchor_that_is_shaped_most_like_it(counts: tuple[int, ...]) -> None:
    given = scene(counts, anchored=True, seed=sum(counts))
    said = given.said
    assert said.anchors is not None
    pairs = AnchorMatch()(said, objects(given))
    found = owners(given, pairs)
    claims: dict[tuple[int, int], list[tuple[float, int]]] = {}
    row = 0
    for image, count in enumerate(counts):
        for _ in range(count):
            left, top, right, bottom = given.corners[row].tolist()
            likeness = []
            for a, ((x, y), stride, (w, h)) in enumerate(
                zip(said.points.tolist(), said.strides.tolist(), said.anchors.tolist(), strict=True)
            ):
                home = x - stride / 2 <= (left + right) / 2 < x + stride / 2 and y - stride / 2 <= (top + bottom) / 2 < y + stride / 2
                shapes = numpy_iou(np.array([0, 0, w, h]), np.array([0, 0, right - left, bottom - top]))
                likeness.append((shapes if home else -1.0, -a))
            best, place = max(likeness)
            claims.setdefault((image, -place), []).append((best, -row))
            row += 1
    wanted = torch.full_like(found, -1)
    for (image, place), those in claims.items():
        wanted[image, place] = -max(those)[1]
    torch.testing.assert_close(found, wanted)


def test_places_that_say_a_good_box_for_anothers_object_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    given = scene((6, 0, 4), anchored=True)
    iou = overlaps(given.corners[:, None], given.said.boxes[torch.tensor([0] * 6 + [2] * 4)])
    wanted = torch.zeros(given.said.objectness.shape, dtype=torch.bool)
    wanted[0], wanted[2] = (iou[:6] > 0.3).any(0), (iou[6:] > 0.3).any(0)
    for largest in (1 << 25, 400):
        monkeypatch.setattr(anchor_match, "LARGEST", largest)
        torch.testing.assert_close(AnchorMatch(0.3)(given.said, objects(given)).ignored, wanted)
    assert wanted.any()


def test_arguments_and_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="radius above 0"):
        SimOTA(radius=0)
    with pytest.raises(UserError, match="an IoU from 0 to 1"):
        AnchorMatch(2)
    given = scene((1,))
    with pytest.raises(UserError, match="no anchors; take simota"):
        AnchorMatch()(given.said, objects(given))
