"""The loss of detection against the formulas of the papers, and what it leaves alone."""

import numpy as np
import pytest
import torch
from torch import Tensor

from criterions.detection.anchor_match import AnchorMatch
from criterions.detection.assignment import Objects
from criterions.detection.box_losses import CIoU, GIoU, GradientHarmonyOfBoxes, IoU, Matched, Yolo
from criterions.detection.criterion import DetectionCriterion, build_detection_criterion
from criterions.detection.simota import SimOTA
from tests.criterions.detection.scenes import Said, Scene, numpy_iou, scene, sigmoid
from utils.errors import UserError
from utils.spec import parse_specs


def built(spec: str = "bce|iou", **facts) -> DetectionCriterion:
    return build_detection_criterion(parse_specs(spec), **facts)


def losses(criterion: DetectionCriterion, given: Scene, weights: Tensor | None = None, crowd: Tensor | None = None):
    weights = torch.ones(len(given.counts)) if weights is None else weights
    mean, parts, _ = criterion(given.said, given.corners, given.classes, given.counts, weights, crowd=crowd)
    return mean, parts


def of_images(said: Said, images: slice) -> Said:
    """What is said of some of the images."""
    return said._replace(**{name: getattr(said, name)[images] for name in ("boxes", "objectness", "classes", "raw")})


def numpy_yolox(given: Scene, weights: np.ndarray, *, late: bool) -> dict[str, float]:
    """The loss of YOLOX, a pair at a time."""
    said, held = given.said, Objects.of(given.corners, given.classes, given.counts, None)
    pairs = SimOTA()(said, held)
    places = said.objectness.shape[1]
    of_images = np.bincount(pairs.places[pairs.valid].numpy() // places, minlength=len(given.counts))
    count = np.maximum(of_images, 1).sum()
    objectness, logits = said.objectness.detach().double().numpy(), said.classes.detach().double().numpy()
    wanted, total = np.zeros(objectness.shape), dict.fromkeys(("class", "box", "objectness"), 0.0)
    for place, row in zip(pairs.places[pairs.valid].tolist(), pairs.rows[pairs.valid].tolist(), strict=True):
        image, a = divmod(place, places)
        wanted[image, a] = 1
        truth, box = given.corners[row].double().numpy(), said.boxes[image, a].detach().double().numpy()
        iou = numpy_iou(box, truth)
        p, t = sigmoid(logits[image, a]), iou * (np.arange(logits.shape[2]) == int(given.classes[row]))
        total["class"] += float(weights[image] * -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum())
        total["box"] += weights[image] * 5 * (1 - iou**2)
        if late:
            stride, point = float(said.strides[a]), said.points[a].double().numpy()
            corner = point / stride - 0.5
            offsets = [*((truth[:2] + truth[2:]) / 2 / stride - corner), *np.log((truth[2:] - truth[:2]) / stride)]
            total["box"] += weights[image] * np.abs(said.raw[image, a].detach().double().numpy() - offsets).sum()
    p = sigmoid(objectness)
    total["objectness"] = float(-(weights[:, None] * (wanted * np.log(p) + (1 - wanted) * np.log(1 - p))).sum())
    return {name: value / count for name, value in total.items()}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("counts", [(3, 0, 5), (30, 1), (1,)])
def test_the_loss_is_that_of_the_paper(counts: tuple[int, ...], late: bool) -> None:
    given, criterion = scene(counts, seed=sum(counts)), built()
    criterion.late = late
    weights = torch.linspace(0.5, 2, len(counts))
    loss, parts = losses(criterion, given, weights)
    wanted = numpy_yolox(given, weights.double().numpy(), late=late)
    assert {name: float(value) for name, value in parts.items()} == pytest.approx(wanted, rel=1e-4)
    assert float(loss.detach()) == pytest.approx(sum(wanted.values()), rel=1e-4)


def pairs_of_boxes(count: int = 50) -> Matched:
    generator = torch.Generator().manual_seed(0)
    corners = [torch.rand(count, 2, generator=generator) * 20 for _ in range(2)]
    said, truth = (torch.cat((start, start + 1 + torch.rand(count, 2, generator=generator) * 20), 1) for start in corners)
    raw, wanted = (torch.randn(count, 4, generator=generator) for _ in range(2))
    return Matched(said, truth, raw, wanted, torch.ones(count, dtype=torch.bool), anchored=False)


def numpy_giou(b: np.ndarray, t: np.ndarray) -> float:
    iou = numpy_iou(b, t)
    sizes = [(each[2] - each[0]) * (each[3] - each[1]) for each in (b, t)]
    union = sum(sizes) / (1 + iou)
    hull = (max(b[2], t[2]) - min(b[0], t[0])) * (max(b[3], t[3]) - min(b[1], t[1]))
    return 1 - (iou - (hull - union) / hull)


def numpy_ciou(b: np.ndarray, t: np.ndarray) -> float:
    iou = numpy_iou(b, t)
    apart = ((b[0] + b[2] - t[0] - t[2]) / 2) ** 2 + ((b[1] + b[3] - t[1] - t[3]) / 2) ** 2
    diagonal = (max(b[2], t[2]) - min(b[0], t[0])) ** 2 + (max(b[3], t[3]) - min(b[1], t[1])) ** 2
    angles = [np.arctan((each[2] - each[0]) / (each[3] - each[1])) for each in (t, b)]
    v = 4 / np.pi**2 * (angles[0] - angles[1]) ** 2
    return 1 - iou + apart / diagonal + v / (1 - iou + v) * v


@pytest.mark.parametrize(("loss", "formula"), [(GIoU(), numpy_giou), (CIoU(), numpy_ciou), (IoU(), lambda b, t: 1 - numpy_iou(b, t) ** 2)])
def test_losses_of_overlap_are_those_of_their_papers(loss, formula) -> None:
    matched = pairs_of_boxes()
    wanted = [formula(b, t) for b, t in zip(matched.boxes.double().numpy(), matched.truth.double().numpy(), strict=True)]
    np.testing.assert_allclose(loss(matched), wanted, rtol=1e-4, atol=1e-5)
    same = Matched(matched.truth, matched.truth, matched.raw, matched.raw, matched.valid, anchored=False)
    np.testing.assert_allclose(loss(same), 0, atol=1e-5)


def test_ghm_r_weighs_by_how_common_a_gradient_is() -> None:
    matched, mu, bins = pairs_of_boxes(), 0.5, 10
    valid = torch.arange(50) < 40
    loss = GradientHarmonyOfBoxes(mu=mu, bins=bins, momentum=0.0)
    found = (loss(Matched(matched.boxes, matched.truth, matched.raw, matched.wanted, valid, anchored=False))[valid]).mean()
    d = (matched.raw - matched.wanted)[valid].double().numpy().ravel()
    size = np.abs(d) / np.sqrt(d**2 + mu**2)
    number = np.minimum((size * bins).astype(int), bins - 1)
    counts = np.bincount(number, minlength=bins)
    weight = len(d) / (counts[number] * (counts > 0).sum())
    wanted = (weight * (np.sqrt(d**2 + mu**2) - mu)).mean()
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_the_loss_of_yolov3_is_zero_where_everything_is_right_and_needs_anchors() -> None:
    given = scene((2, 3), anchored=True)
    assert given.said.anchors is not None
    _, parts = losses(built("bce|yolo"), given)
    assert float(parts["box"]) > 0
    matched = pairs_of_boxes()
    fractions = torch.full((50, 4), 0.999999)
    right = Matched(matched.boxes, matched.truth, fractions, fractions, matched.valid, anchored=True)
    torch.testing.assert_close(Yolo()(right), torch.zeros(50), atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="networks with anchors"):
        losses(built("bce|yolo"), scene((2,)))


@pytest.mark.parametrize("spec", ["bce|iou", "bce|giou", "bce|ciou"])
@pytest.mark.parametrize("size", [-20.0, 8.0])
def test_a_box_of_an_anchor_that_has_collapsed_or_burst_finds_back(spec: str, size: float) -> None:
    given = scene((1,), anchored=True)
    assert given.said.anchors is not None
    raw = torch.cat((given.said.raw.detach()[..., :2], torch.full_like(given.said.raw[..., 2:], size)), 2).requires_grad_()
    middles, sizes = given.said.points + (raw[..., :2] - 0.5) * given.said.strides[:, None], raw[..., 2:].exp() * given.said.anchors
    said = given.said._replace(raw=raw, boxes=torch.cat((middles - sizes / 2, middles + sizes / 2), 2))
    losses(built(spec), given._replace(said=said))[0].backward()
    pairs = AnchorMatch()(said, Objects.of(given.corners, given.classes, given.counts, None))
    assert raw.grad is not None
    found = raw.grad[0, int(pairs.places[0]), 2:]
    assert bool((found * size > 0.5).all()), "a step against the gradient leads towards the anchor"


def test_images_without_objects_are_asked_for_objectness_alone_and_leave_gradients_of_zero() -> None:
    given = scene((0, 0))
    loss, parts = losses(built(), given)
    p = sigmoid(given.said.objectness.detach().double().numpy())
    assert float(loss.detach()) == pytest.approx(-np.log(1 - p).sum() / 2, rel=1e-5), "the sum over the images, an object for each"
    assert float(parts["class"]) == float(parts["box"]) == 0
    loss.backward()
    assert given.said.raw.grad is not None
    assert given.said.classes.grad is not None
    assert float(given.said.raw.grad.abs().sum()) == float(given.said.classes.grad.abs().sum()) == 0


def test_crowds_are_neither_found_nor_missed() -> None:
    given = scene((3, 2))
    crowd = torch.tensor([False, True, False, False, False])
    loss, parts = losses(built(), given, crowd=crowd)
    loss.backward()
    x, y = given.said.points.T
    left, top, right, bottom = given.corners[1]
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    pairs = SimOTA()(given.said, Objects.of(given.corners, given.classes, given.counts, crowd))
    taken = torch.zeros_like(inside).index_fill(0, pairs.places[pairs.valid & (pairs.places < len(x))], True)
    assert given.said.objectness.grad is not None
    assert float(given.said.objectness.grad[0][inside & ~taken].abs().sum()) == 0
    assert (given.said.objectness.grad[0][~inside | taken] != 0).all()
    alone = given._replace(corners=given.corners[~crowd], classes=given.classes[~crowd], counts=torch.tensor([2, 2]))
    _, without = losses(built(), alone)
    assert float(parts["class"]) == pytest.approx(float(without["class"]), rel=1e-5)
    assert float(parts["box"]) == pytest.approx(float(without["box"]), rel=1e-5)
    everything, _ = losses(built(), given, crowd=torch.ones(5, dtype=torch.bool))
    assert everything.isfinite()


@pytest.mark.parametrize("spec", ["bce|iou", "focal_bce|ghm|class_weights(auto)|giou|ghm_r", "bce|ohm(0.5)|iou|l1"])
def test_the_loss_of_an_image_in_evaluation_depends_on_no_other_one(spec: str) -> None:
    given = scene((3, 0, 5, 1))
    criterion = built(spec, classes=("a", "b", "c"), class_counts=[100.0, 10.0, 1.0])
    criterion.late = True
    together = criterion.of_images(given.said, given.corners, given.classes, given.counts)
    start = 0
    for image, count in enumerate(given.counts.tolist()):
        rows = slice(start, start + count)
        said = of_images(given.said, slice(image, image + 1))
        alone = criterion.of_images(said, given.corners[rows], given.classes[rows], given.counts[image : image + 1])
        torch.testing.assert_close(alone[0], together[image], rtol=1e-5, atol=0.0)
        start += count
        if spec == "bce|iou" and count:
            wanted = numpy_yolox(Scene(said, given.corners[rows], given.classes[rows], torch.tensor([count])), np.ones(1), late=False)
            assert float(together[image]) == pytest.approx(sum(wanted.values()), rel=1e-4)


def test_parts_of_a_batch_add_up_to_the_whole_by_what_they_count() -> None:
    given, criterion = scene((3, 0, 5, 1)), built("focal_bce|giou|l1")
    whole = criterion(given.said, given.corners, given.classes, given.counts, torch.ones(4))
    parts = []
    for images, rows in ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 9))):
        said = of_images(given.said, images)
        parts.append(criterion(said, given.corners[rows], given.classes[rows], given.counts[images], torch.ones(2)))
    assert float(sum(part.held for part in parts)) == float(whole.held)
    total = sum(float(part.mean.detach()) * float(part.held) for part in parts)
    assert total / float(whole.held) == pytest.approx(float(whole.mean.detach()), rel=1e-5)


def test_an_image_of_no_weight_teaches_nothing() -> None:
    given = scene((3, 4))
    loss, _ = losses(built("bce|ghm|giou|l1|ghm_r"), given, torch.tensor([1.0, 0.0]))
    loss.backward()
    for values in (given.said.raw, given.said.objectness, given.said.classes):
        assert values.grad is not None
        assert float(values.grad[0].abs().sum()) > 0
        assert float(values.grad[1].abs().sum()) == 0


def test_ghm_is_the_mean_over_places_by_how_common_their_gradient_is() -> None:
    given = scene((3, 0, 5))
    _, parts = losses(built("bce|ghm(bins=10,momentum=0.0)|iou"), given)
    pairs = SimOTA()(given.said, Objects.of(given.corners, given.classes, given.counts, None))
    z = given.said.objectness.detach().double().numpy().ravel()
    t = np.zeros(len(z))
    t[pairs.places[pairs.valid].numpy()] = 1
    number = np.minimum((np.abs(sigmoid(z) - t) * 10).astype(int), 9)
    counts = np.bincount(number, minlength=10)
    weight = len(z) / (counts[number] * (counts > 0).sum())
    wanted = (weight * -(t * np.log(sigmoid(z)) + (1 - t) * np.log(1 - sigmoid(z)))).mean()
    assert float(parts["objectness"]) == pytest.approx(wanted, rel=1e-4)


def test_focal_objectness_is_that_of_the_paper_and_classes_stay_as_they_are() -> None:
    given = scene((3, 5))
    _, plain = losses(built(), given)
    _, focal = losses(built("focal_bce(gamma=2,alpha=0.25)|iou"), given)
    pairs = SimOTA()(given.said, Objects.of(given.corners, given.classes, given.counts, None))
    p = sigmoid(given.said.objectness.detach().double().numpy().ravel())
    t = np.zeros(len(p))
    t[pairs.places[pairs.valid].numpy()] = 1
    wanted = (-0.25 * t * (1 - p) ** 2 * np.log(p) - 0.75 * (1 - t) * p**2 * np.log(1 - p)).sum() / int(pairs.valid.sum())
    assert float(focal["objectness"]) == pytest.approx(wanted, rel=1e-4)
    assert float(focal["class"]) == float(plain["class"])


def test_weighters_of_classes_weigh_the_classes_of_objects() -> None:
    given = scene((6, 5))
    facts = {"classes": ("a", "b", "c"), "class_counts": [100.0, 10.0, 1.0]}
    _, plain = losses(built(), given)
    _, weighed = losses(built("bce|class_weights(auto)|iou", **facts), given)
    assert float(weighed["objectness"]) == float(plain["objectness"])
    assert float(weighed["class"]) != float(plain["class"])


def test_half_precision_around_it_changes_nothing() -> None:
    given = scene((3, 5))
    wanted, _ = losses(built("bce|ghm|ciou"), given)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = losses(built("bce|ghm|ciou"), given)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_a_second_look_counts_nothing() -> None:
    given, criterion = scene((3, 5)), built("bce|ghm|ghm_r")
    losses(criterion, given)
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    criterion(given.said, given.corners, given.classes, given.counts, torch.ones(2), record=False)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in criterion.state_dict().items())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("softmax|iou", "asked with a sigmoid; take bce"),
        ("bce|simota|anchor_match", "both say which places are whose"),
        ("bce|iou(factor=0)", "factor 0 must be a number above 0"),
        ("bce|giou(scale=2)", r"write giou\(factor=5.0\)"),
        ("bce|simota(2.5,0)", "whole number from 1 on"),
        ("bce|ghm_r(mu=0)", "mu 0 must be above 0"),
    ],
)
def test_mistakes_are_answered_with_what_to_write(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(spec)
