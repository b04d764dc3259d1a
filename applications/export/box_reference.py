"""Boxes of files beside those of their model: the same class, the same place, the same score."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.contract import Task
from applications.export.answers import Answers
from applications.export.box_parity import compare_image, pair_boxes
from applications.export.parity import ALLOWED_INT8, Allowed, ClassFigure, Figures, Parity, Words
from applications.export.reference import Reference
from applications.formats.deployed import BoxCore, Deployed, deploy_outputs
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import Holds
from applications.settings.options import ExportOptions
from applications.tasks.box_answers import BoxAnswer, Choice, answer_of, placed
from applications.tasks.box_meter import MEASURED, BoxRows
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained
from applications.trained.trained_task import build_trained_task

# In 16 bits the corners of a small box move by more than 1% of it, so that one of many overlaps less than the rest.
ALLOWED = {"fp32": Allowed(1e-3, 0.999), "half": Allowed(5e-2, 0.9), "int8": ALLOWED_INT8}


class BoxReference(Reference[Detect]):
    """Answers are corners and scores of every place, (A, 4 + C), or chosen boxes, (K, 6), with zeros behind them."""

    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED
    words: ClassVar[Words] = Words("boxes", "score", "objects", "AP", "lower --conf, or train longer")
    demo: ClassVar[str] = "detector"

    @staticmethod
    def build_task(trained: Trained, device: torch.device) -> Task:
        task = build_trained_task(trained, device)
        assert isinstance(task, Detect)
        set_choice(task, trained)
        return task

    @staticmethod
    def deploy(trained: Trained, task: Detect, options: ExportOptions, *, any_size: bool) -> Deployed:
        core = BoxCore(copy.deepcopy(trained.model).half() if options.half else trained.model, task.temperature).eval()
        return deploy_outputs(core, trained.preprocess, any_size=any_size, half=options.half)

    @staticmethod
    def facts(trained: Trained, task: Detect, options: ExportOptions, holds: Holds) -> dict[str, Any]:
        del trained
        choice, inside = task.answered, options.nms_inside and holds.suppression
        return {
            "activation": "none",
            "temperature": task.temperature,
            "outputs": (*(each.name for each in task.signature().outputs), *(["classes"] if inside else [])),
            "boxes": BoxFacts(choice.confidence, choice.overlap, choice.most, choice.agnostic),
        }

    @staticmethod
    def joined(outputs: Sequence[np.ndarray], facts: Facts) -> np.ndarray:
        del facts
        return np.concatenate([each if each.ndim == 3 else each[..., None] for each in outputs], axis=2).astype(np.float32)

    @staticmethod
    def said(trained: Trained, task: Detect, pixels: Tensor, machine: Machine) -> np.ndarray:
        said = ImageDetector(trained, task, machine).look(pixels).cpu()
        return torch.cat([said[..., :4], said[..., 5:] * said[..., 4:5]], 2).numpy()

    def figures(self, answers: Iterable[tuple[int, np.ndarray]], facts: Facts) -> Figures:
        """Return the AP of the boxes that are answered, those of the least score or more, wherever they are chosen."""
        classes, choice = self.task.classes, answered(facts)
        meter = BoxRows(classes, choice, self.split.target, facts.preprocess)
        for index, answer in answers:
            boxes = self.split.target(index)
            size = boxes.image_size()
            assert size is not None
            found = named_as(_boxes(answer, choice, facts.chooses_boxes), facts.classes, classes)
            meter.compare(index, placed(found, facts.preprocess.change(size).undone(size)), boxes)
        found, counts = meter.coco.ap(), np.bincount(meter.truths.classes, minlength=len(classes))
        rows = zip(classes, counts.tolist(), found.tolist(), strict=True)
        return Figures("AP of the answered boxes", meter.figures()["AP"], tuple(ClassFigure(*row) for row in rows if row[2] >= 0))

    def compare(self, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> Parity:
        # Where the file leaves the choice to others, all that could be chosen is compared.
        inside = answers.facts.chooses_boxes
        choice = answered(facts) if inside else replace(answered(facts), confidence=MEASURED)
        ours = [_boxes(each, choice) for each in expected]
        alone, together = (
            [
                compare_image(mine, _boxes(theirs, choice, inside), raw, choice, allowed.difference)
                for mine, theirs, raw in zip(ours, part, expected, strict=True)
            ]
            for part in (answers.single, answers.batched)
        )
        # A box agrees where it does both alone and among other images.
        wrong = sum(max(first.wrong, second.wrong) for first, second in zip(alone, together, strict=True))
        total = sum(max(first.total, second.total) for first, second in zip(alone, together, strict=True))
        single, batched = (
            np.array([each.largest for each in found]) if inside else _score_differences(part, expected)
            for found, part in ((alone, answers.single), (together, answers.batched))
        )
        mine = self.figures(enumerate(expected), replace(facts, outputs=facts.outputs[:2]))
        theirs = self.worse_figures(answers.single, answers.batched, answers.facts, allowed)
        return self.parity(single, batched, (total - wrong, total), (mine, theirs))

    def distance(self, answer: np.ndarray, expected: np.ndarray, facts: Facts) -> float:
        """Return how much of the scores is not found again at the same place."""
        mine, theirs = (_boxes(each, answered(facts), facts.chooses_boxes) for each in (expected, answer))
        first, second = pair_boxes(mine, theirs, least=0.5)
        apart = np.abs(mine.scores[first] - theirs.scores[second]).sum()
        return float(apart + np.delete(mine.scores, first).sum() + np.delete(theirs.scores, second).sum())


def answered(facts: Facts) -> Choice:
    """Return which boxes a file or its model answers."""
    assert facts.boxes is not None
    return Choice(facts.boxes.confidence, facts.boxes.overlap, facts.boxes.most, facts.boxes.agnostic)


def named_as(found: BoxAnswer, classes: Sequence[str], wanted: Sequence[str]) -> BoxAnswer:
    """Return boxes whose numbers of classes are those of the names `wanted`; none where these are others."""
    if sorted(classes) != sorted(wanted):
        return found.rows(np.zeros(0, np.int64))
    return found._replace(classes=np.array([wanted.index(name) for name in classes], np.int64)[found.classes])


def _boxes(said: np.ndarray, choice: Choice, chosen: bool = False) -> BoxAnswer:
    """Return the boxes of an answer: those that are `chosen` already, (K, 6), or of corners and scores of every place, (A, 4 + C)."""
    if chosen:
        rows = said[~(said[:, 4] <= 0)]
        return BoxAnswer(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
    told = torch.from_numpy(said)
    return answer_of(torch.cat([told[:, :4], torch.ones(len(told), 1), told[:, 4:]], 1), choice)


def _score_differences(part: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the largest difference of a score of each image, (N,); nan where there are other places or classes."""
    return np.abs(part - wanted)[..., 4:].max((1, 2)) if part.shape == wanted.shape else np.full(len(wanted), np.nan)
