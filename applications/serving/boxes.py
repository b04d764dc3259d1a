"""A detector of objects that is served: the boxes of --predict, drawn over the image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from applications.assemble import Machine
from applications.serving.masks import SIDE
from applications.serving.schema import Answer, DetectionAnswer, FoundBox
from applications.serving.served_model import ModelFacts, ServedModel, Wanted
from applications.settings.options import SingleImageOptions
from applications.tasks.box_answers import BoxAnswer
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained
from applications.trained.trained_task import build_trained_task
from utils.drawing.box_pictures import framed
from utils.drawing.images import data_uri, thumbnail
from utils.drawing.mask_pictures import class_colors
from utils.errors import UserError


class BoxesSaid(NamedTuple):
    """What a detector says of an image, uint8 (H, W, 3)."""

    image: np.ndarray
    answer: BoxAnswer


class ServedBoxes(ServedModel):
    """A detector, of a checkpoint or of an exported file."""

    def __init__(self, detector: ImageDetector, facts: ModelFacts) -> None:
        self.detector = detector
        self.facts = facts
        self.colors = class_colors(len(facts.classes)).tolist()

    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> list[BoxesSaid]:
        del drawn
        detector = self.detector
        said = detector.look(torch.stack([detector.trained.preprocess.apply(picture) for picture in pictures]))
        choice = detector.task.answered
        return [
            BoxesSaid(picture, detector.answer(each, (picture.shape[0], picture.shape[1]), choice))
            for picture, each in zip(pictures, said, strict=True)
        ]

    def write(self, said: BoxesSaid, wanted: Wanted) -> Answer:
        image, (corners, scores, classes) = said
        boxes = [
            FoundBox(
                label=self.facts.classes[label],
                color="#{:02x}{:02x}{:02x}".format(*self.colors[label]),
                score=score,
                box=[left, top, right - left, bottom - top],
            )
            for (left, top, right, bottom), score, label in zip(corners.tolist(), scores.tolist(), classes.tolist(), strict=True)
        ]
        return Answer(
            model=self.facts.name,
            labels=[],
            unsure=False,
            top=[],
            heat_map=data_uri(self._drawn(image, said.answer)) if wanted.drawn else None,
            detection=DetectionAnswer(boxes=boxes),
        )

    def _drawn(self, image: np.ndarray, answer: BoxAnswer) -> np.ndarray:
        """Return the image with frames, which are as wide on a large one as on a small one."""
        small = thumbnail(image, SIDE)
        scale = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]] * 2)
        texts = [f"{self.facts.classes[label]} {score:.2f}" for label, score in zip(answer.classes, answer.scores, strict=True)]
        return framed(small, answer.corners * scale, [self.colors[label] for label in answer.classes], texts)


def open_boxes(trained: Trained, name: str, machine: Machine, options: SingleImageOptions) -> ServedModel:
    """Return a detector to serve.

    Raises:
        UserError: an exported file does not answer the boxes that are asked for, or heat maps are wanted.
    """
    if options.visual_method is not None:
        raise UserError(f"--visual_method {options.visual_method}: --serve draws heat maps of labels alone; leave it out for {name}")
    task = build_trained_task(trained, machine.device)
    assert isinstance(task, Detect)
    set_choice(task, trained)
    facts = ModelFacts(name, task.name, trained.describe(), trained.classes, False, None, trained.preprocess, "boxes")
    return ServedBoxes(ImageDetector(trained, task, machine, False), replace(facts, whole=True, threshold=task.confidence))
