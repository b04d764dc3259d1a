"""Every task whose models are exported has a reference, which tells a file that answers alike from one that does not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.export import REFERENCES, reference_kind
from applications.export.answers import Answers
from applications.export.box_reference import BoxReference
from applications.export.defect_reference import DefectReference
from applications.export.parity import Parity
from applications.export.reference import spread
from applications.formats.facts import BoxFacts, Facts
from applications.tasks import TASKS
from applications.tasks.anomaly import Anomaly
from applications.tasks.detect import Detect
from criterions.detection.criterion import build_detection_criterion
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from dataloader.targets.boxes import Boxes
from dataloader.targets.defect import GOOD, Defect
from dataloader.targets.mask import Mask
from dataloader.targets.target import Target
from utils.errors import UserError
from utils.spec import parse_specs
from utils.timing import Timing

SIDE = 64
PREPROCESS = Preprocess(image_size=(SIDE, SIDE))
CLASSES = ("cup", "pen")
BOXES = BoxFacts(0.3, 0.5, 4, False)
RAW = Facts("yolox", "detect", CLASSES, PREPROCESS, "none", outputs=("boxes", "scores"), boxes=BOXES)
CHOSEN = replace(RAW, outputs=("boxes", "scores", "classes"))
SCORED = Facts("padim", "anomaly", ("good", "defective"), PREPROCESS, "none", thresholds=(0.5,), outputs=("score", "map"))


@dataclass(frozen=True)
class Known:
    """Truths in memory, of images '0', '1' and so on."""

    targets: Sequence[Target]
    classes: tuple[str, ...] = CLASSES

    def read(self, path: str) -> Target:
        return self.targets[int(path)]

    def nothing(self) -> Target:
        raise NotImplementedError

    def count(self, paths: Sequence[str]) -> np.ndarray:
        raise NotImplementedError


def split_of(targets: Sequence[Target]) -> Split:
    count = len(targets)
    return Split("val", Path(), tuple(map(str, range(count))), np.zeros(count, np.int64), truths=Known(targets))


def told(facts: Facts, rows: np.ndarray, batched: np.ndarray | None = None) -> Answers:
    return Answers(facts, rows, rows if batched is None else batched, Timing(0.0, 0.0, 0.0, 1, 0.0), 0.0)


def boxes() -> BoxReference:
    """Return two images: a cup at the left, a pen at the right."""
    corners = np.array([[4, 4, 24, 24], [36, 30, 60, 60]], np.float32)
    truths = [Boxes(corners[k : k + 1], np.array([k], np.int64), (SIDE, SIDE)) for k in range(2)]
    criterion = build_detection_criterion(parse_specs("bce|iou"))
    return BoxReference(Detect(CLASSES, criterion, PREPROCESS, torch.device("cpu")), split_of(truths))


def places() -> np.ndarray:
    """Return what a good detector says of these, (2, 3, 4 + 2): the object, the same again, and nothing."""
    said = np.zeros((2, 3, 6), np.float32)
    said[0, :2, :5] = [[4, 4, 24, 24, 0.9], [5, 5, 25, 25, 0.6]]
    said[1, :2, :4], said[1, :2, 5] = [[36, 30, 60, 60], [37, 31, 61, 61]], [0.8, 0.5]
    return said


def chosen() -> np.ndarray:
    """Return the same as a file answers that chooses boxes, (2, 4, 6)."""
    rows = np.zeros((2, 4, 6), np.float32)
    rows[:, :, 5] = -1
    rows[0, 0], rows[1, 0] = [4, 4, 24, 24, 0.9, 0], [36, 30, 60, 60, 0.8, 1]
    return rows


def compared(facts: Facts, rows: np.ndarray, precision: str = "fp32") -> tuple[Parity, str]:
    parity = boxes().compare(places(), told(facts, rows), facts, BoxReference.allowed[precision])
    return parity, parity.refusal(BoxReference.allowed[precision])


def test_every_task_with_exported_files_has_a_row() -> None:
    assert {name for name in TASKS if "exported files" in TASKS.resolve(name).abilities} == set(REFERENCES)
    for name in REFERENCES:
        assert set(reference_kind(name).allowed) == {"fp32", "half", "int8"}
    with pytest.raises(UserError, match="--task pixels cannot be compared"):
        reference_kind("pixels")


@pytest.mark.parametrize(("facts", "rows"), [(RAW, places()), (CHOSEN, chosen())], ids=["every place", "chosen boxes"])
def test_equal_boxes_are_kept(facts: Facts, rows: np.ndarray) -> None:
    parity, refusal = compared(facts, rows)
    assert not refusal
    assert parity.agreeing == parity.answers > 0
    assert parity.model == parity.file == pytest.approx(1.0)
    assert [(each.name, each.number) for each in parity.classes] == [("cup", 1), ("pen", 1)]


def test_a_file_that_answers_a_box_twice_is_refused() -> None:
    doubled = chosen()
    doubled[0, 1] = [5, 5, 25, 25, 0.6, 0]
    parity, refusal = compared(CHOSEN, doubled)
    assert "1 of 3 boxes differ" in refusal
    assert parity.model == pytest.approx(1.0)


def test_a_class_that_a_file_has_lost_is_seen_in_its_ap() -> None:
    lost = chosen()
    lost[1, 0, 4:] = [0, -1]
    parity, refusal = compared(CHOSEN, lost, "int8")
    assert parity.drop == pytest.approx(0.5)
    assert [each.file for each in parity.classes] == pytest.approx([1.0, 0.0])
    assert "AP of the answered boxes falls by 50.00 points" in refusal


def test_boxes_that_are_not_there_cannot_be_compared() -> None:
    nothing = np.zeros_like(places())
    parity = boxes().compare(nothing, told(RAW, nothing), RAW, BoxReference.allowed["fp32"])
    assert "no image of the comparison has boxes" in parity.refusal(BoxReference.allowed["fp32"])
    assert "lower --conf" in parity.refusal(BoxReference.allowed["int8"])


def test_how_far_boxes_have_moved_does_not_depend_on_their_order() -> None:
    rows = np.zeros((4, 6), np.float32)
    rows[:2] = [[0, 0, 9, 9, 0.9, 0], [30, 30, 50, 50, 0.8, 1]]
    turned = rows[[1, 0, 2, 3]]
    assert boxes().distance(turned, rows, CHOSEN) == 0.0
    turned[0, 4] = 0.7
    assert boxes().distance(turned, rows, CHOSEN) == pytest.approx(0.1)
    assert boxes().distance(np.zeros_like(rows), rows, CHOSEN) == pytest.approx(1.7)


def defects(kinds: Sequence[str]) -> DefectReference:
    truths = [Defect(kind, Mask(np.zeros((4, 4), np.uint8))) for kind in kinds]
    return DefectReference(Anomaly(("good", "defective"), torch.nn.Identity(), PREPROCESS, torch.device("cpu")), split_of(truths))


def scores(*values: float) -> np.ndarray:
    """Return scores with maps of 2 x 2 places, (N, 1 + 4)."""
    rows = np.zeros((len(values), 5), np.float32)
    rows[:, 0] = rows[:, 4] = values
    return rows


def test_detectors_are_measured_by_their_auroc_and_by_kinds() -> None:
    reference = defects((GOOD, GOOD, "hole", "crack"))
    exact, worse = scores(0.1, 0.4, 0.3, 0.9), scores(0.1, 0.4, 0.05, 0.9)
    parity = reference.compare(exact, told(SCORED, worse), SCORED, DefectReference.allowed["int8"])
    assert (parity.headline, parity.model, parity.file) == ("AUROC", 0.75, 0.5)
    assert [(each.name, each.model, each.file) for each in parity.classes] == [("crack", 1.0, 1.0), ("hole", 0.5, 0.0)]
    assert "AUROC falls by 25.00 points" in parity.refusal(DefectReference.allowed["int8"])


def test_of_good_images_alone_false_alarms_are_counted() -> None:
    parity = defects((GOOD,) * 4).compare(
        scores(0.1, 0.2, 0.3, 0.6), told(SCORED, scores(0.1, 0.2, 0.55, 0.6)), SCORED, DefectReference.allowed["int8"]
    )
    assert (parity.headline, parity.model, parity.file) == ("good images named good", 0.75, 0.5)


def test_a_place_of_a_map_is_compared_as_scores_are() -> None:
    exact, other = scores(0.1, 0.9), scores(0.1, 0.9)
    other[1, 2] += 0.01
    allowed = DefectReference.allowed["fp32"]
    reference = defects((GOOD, "hole"))
    for answers in (told(SCORED, other), told(SCORED, exact, batched=other)):
        assert "a score differs by up to 1.0e-02" in reference.compare(exact, answers, SCORED, allowed).refusal(allowed)
    assert not reference.compare(exact, told(SCORED, exact), SCORED, allowed).refusal(allowed)


def test_images_of_a_comparison_are_spread_over_the_split() -> None:
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(0, 8) == []


def test_what_batches_alone_lose_in_8_bits_is_lost() -> None:
    allowed = DefectReference.allowed["int8"]
    exact, wrong = scores(0.1, 0.2, 0.8, 0.9), scores(0.9, 0.2, 0.1, 0.9)
    reference = defects((GOOD, GOOD, "hole", "hole"))
    assert "AUROC falls" in reference.compare(exact, told(SCORED, exact, batched=wrong), SCORED, allowed).refusal(allowed)
    assert not reference.compare(exact, told(SCORED, exact), SCORED, allowed).refusal(allowed)
    nothing = np.zeros_like(places())
    parity = boxes().compare(places(), told(RAW, places(), batched=nothing), RAW, BoxReference.allowed["int8"])
    assert "AP of the answered boxes falls by 100.00 points" in parity.refusal(BoxReference.allowed["int8"])


def test_a_box_that_is_wrong_in_batches_alone_does_not_agree() -> None:
    parity = boxes().compare(places(), told(RAW, places(), batched=places()[::-1].copy()), RAW, BoxReference.allowed["half"])
    assert parity.agreeing < parity.answers
