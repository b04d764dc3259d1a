"""COCO's figures of boxes: those of pycocotools where it is installed, and stored ones of it where it is not."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from tests.utils.random_boxes import answers_of_images, of_images, random_boxes
from utils.metrics.average_precision import CocoFigures, coco_figures
from utils.metrics.box_matching import AnsweredBoxes, TrueBoxes, match_boxes
from utils.metrics.box_resampling import ResampledPrecision, headline_figures

# (seed, images, classes, most answers an image, whether places are whole) -> the twelve figures that pycocotools 2.0.11 gives.
CASES: dict[tuple[int, int, int, int, bool], list[float]] = {
    (0, 15, 2, 120, True): [
        0.234857060022,
        0.310035277583,
        0.220243467099,
        0.218660500647,
        0.382983486601,
        0.159289458358,
        0.0593023255814,
        0.455813953488,
        0.806976744186,
        0.783050847458,
        0.921739130435,
        0.5,
    ],
    (1, 15, 2, 40, False): [
        0.195618625273,
        0.260820760581,
        0.211318497363,
        0.143677555318,
        0.306213342243,
        0.37760018859,
        0.0427083333333,
        0.35625,
        0.545833333333,
        0.418644067797,
        0.733333333333,
        0.814285714286,
    ],
    (2, 8, 80, 60, True): [
        0.396187788139,
        0.466830936487,
        0.410031285934,
        0.457666666667,
        0.481159306407,
        0.0,
        0.389215686275,
        0.528921568627,
        0.528921568627,
        0.56,
        0.552380952381,
        0.0,
    ],
    (3, 8, 80, 30, False): [
        0.354415197617,
        0.422120260807,
        0.371307252676,
        0.379315431543,
        0.484848484848,
        -1.0,
        0.30162601626,
        0.5,
        0.5,
        0.49797979798,
        0.536363636364,
        -1.0,
    ],
}


def figures_of(truths: TrueBoxes, answers: AnsweredBoxes, classes: int) -> CocoFigures:
    return coco_figures(match_boxes(truths, answers), classes)


def by_pycocotools(truths: TrueBoxes, answers: AnsweredBoxes, images: int, classes: int) -> Any:
    """Return the evaluation of COCO's own program."""
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")

    def sides(corners: np.ndarray) -> list[list[float]]:
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()

    true = zip(truths.images, truths.classes, sides(truths.corners), truths.crowd, truths.areas, strict=True)
    said = zip(answers.images, answers.classes, sides(answers.corners), answers.scores, strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        judge = coco.COCO()
        judge.dataset = {
            "images": [{"id": image} for image in range(images)],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": [
                {"id": n, "image_id": int(i), "category_id": int(c), "bbox": box, "iscrowd": int(crowd), "area": float(area)}
                for n, (i, c, box, crowd, area) in enumerate(true, start=1)
            ],
        }
        judge.createIndex()
        given = [{"image_id": int(i), "category_id": int(c), "bbox": box, "score": float(score)} for i, c, box, score in said]
        found = evaluation.COCOeval(judge, judge.loadRes(given), "bbox")
        found.evaluate()
        found.accumulate()
        found.summarize()
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_twelve_figures_are_those_of_pycocotools(case: tuple[int, int, int, int, bool]) -> None:
    seed, images, classes, most, whole = case
    truths, answers = random_boxes(seed, images=images, classes=classes, most=most, whole=whole)
    found = figures_of(truths, answers, classes)
    np.testing.assert_allclose(list(found.summary.values()), CASES[case], atol=1e-9)


@pytest.mark.parametrize(("images", "classes", "most", "whole"), [(20, 2, 150, True), (20, 2, 60, False), (12, 80, 40, True)])
@pytest.mark.parametrize("seed", range(2))
def test_every_number_is_that_of_pycocotools(seed: int, images: int, classes: int, most: int, whole: bool) -> None:
    truths, answers = random_boxes(seed, images=images, classes=classes, most=most, whole=whole)
    judged, found = by_pycocotools(truths, answers, images, classes), figures_of(truths, answers, classes)
    np.testing.assert_allclose(found.precision, judged.eval["precision"][..., 2], atol=1e-9)
    np.testing.assert_allclose(found.recall, judged.eval["recall"], atol=1e-9)
    np.testing.assert_allclose(list(found.summary.values()), judged.stats, atol=1e-9)


def one(truth: list[float], answer: list[float], *, crowd: bool = False) -> CocoFigures:
    """Return the figures of one image with one object and one answer of one class."""
    nothing = np.zeros(1, np.int64)
    truths = TrueBoxes(nothing, nothing, np.array([truth]), np.array([crowd]), np.array([100.0]))
    return figures_of(truths, AnsweredBoxes(nothing, nothing, np.array([answer]), np.array([0.9])), 1)


@pytest.mark.parametrize(("right", "ap"), [(10.0, 1.0), (7.5, 0.6), (5.0, 0.1), (4.9, 0.0)])
def test_an_overlap_counts_at_the_thresholds_that_it_reaches(right: float, ap: float) -> None:
    assert one([0, 0, 10, 10], [0, 0, right, 10]).summary["AP"] == pytest.approx(ap)


def test_a_crowd_is_neither_found_nor_missed() -> None:
    assert one([0, 0, 10, 10], [0, 0, 10, 10], crowd=True).summary["AP"] == -1


def test_a_class_without_objects_has_no_figure_and_changes_no_mean() -> None:
    truths, answers = random_boxes(0, images=10, classes=3, most=20, whole=False)
    found = figures_of(truths, answers, 3)
    assert found.ap()[2] == -1
    assert found.summary["AP"] == pytest.approx(found.ap()[:2].mean())


def test_nothing_at_all_has_no_figure() -> None:
    none = np.zeros(0, np.int64)
    truths = TrueBoxes(none, none, np.zeros((0, 4)), none.astype(bool), none.astype(float))
    summary = figures_of(truths, AnsweredBoxes(none, none, np.zeros((0, 4)), none.astype(float)), 4).summary
    assert set(summary.values()) == {-1.0}


@pytest.mark.parametrize("seed", range(3))
def test_images_that_count_several_times_are_as_good_as_copies(seed: int) -> None:
    truths, answers = random_boxes(seed, images=25, classes=4, most=40, whole=False)
    resampled = ResampledPrecision(match_boxes(truths, answers), 4)
    times = np.random.default_rng(seed).integers(0, 3, 25)
    copies = np.repeat(np.arange(25), times)
    copied = figures_of(of_images(truths, copies), answers_of_images(answers, copies), 4).summary
    for name, value in headline_figures(resampled(times)).items():
        assert value == pytest.approx(copied[name], abs=1e-9)


def test_images_that_count_once_give_the_figures_themselves() -> None:
    truths, answers = random_boxes(5, images=25, classes=4, most=40, whole=True)
    found = ResampledPrecision(match_boxes(truths, answers), 4)(np.ones(25, np.int64))
    np.testing.assert_allclose(found.mean(1)[:3], figures_of(truths, answers, 4).ap()[:3], atol=1e-9)
