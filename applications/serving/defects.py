"""A detector of defects that is served: the scores, verdicts and regions of --predict, and heat maps."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from applications.assemble import Machine
from applications.serving.masks import SIDE
from applications.serving.schema import AnomalyAnswer, Answer, DefectRegion
from applications.serving.served_model import ModelFacts, ServedModel, Wanted
from applications.settings.options import SingleImageOptions
from applications.tasks.anomaly import Anomaly, DefectAnswer, regions_of
from applications.trained.checkpoint import Trained
from applications.trained.defects import ImageAnomalyDetector
from applications.trained.trained_task import build_trained_task
from utils.drawing.defect_pictures import shown_heat
from utils.drawing.images import data_uri, overlay, png_uri, thumbnail
from utils.errors import UserError


class DefectSaid(NamedTuple):
    """What a detector says of an image, uint8 (H, W, 3)."""

    image: np.ndarray
    answer: DefectAnswer


class ServedDefects(ServedModel):
    """A detector, of a checkpoint or of an exported file."""

    def __init__(self, heat: ImageAnomalyDetector, facts: ModelFacts) -> None:
        self.heat = heat
        self.facts = facts

    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> list[DefectSaid]:
        del drawn
        return [DefectSaid(picture, answer) for picture, answer in zip(pictures, self.heat.answers(pictures), strict=True)]

    def write(self, said: DefectSaid, wanted: Wanted) -> Answer:
        image, (score, heat, _) = said
        threshold = self.facts.threshold
        assert threshold is not None, "open_defects saw to it"
        mask = heat >= threshold
        return Answer(
            model=self.facts.name,
            labels=[],
            unsure=False,
            top=[],
            heat_map=data_uri(thumbnail(overlay(image, shown_heat(heat)), SIDE)) if wanted.drawn else None,
            anomaly=AnomalyAnswer(
                score=score,
                threshold=threshold,
                defective=score >= threshold,
                defects=[DefectRegion(**region) for region in regions_of(mask, heat)],
                mask=png_uri(Image.fromarray(mask)) if wanted.mask else None,
            ),
        )


def open_defects(trained: Trained, name: str, machine: Machine, options: SingleImageOptions) -> ServedModel:
    """Return a detector to serve.

    Raises:
        UserError: there is no threshold.
    """
    task = build_trained_task(trained, machine.device)
    assert isinstance(task, Anomaly)
    threshold = options.reject if options.reject is not None else None if task.threshold is None else task.threshold.value
    if threshold is None:
        raise UserError(f"{trained.path} has no threshold; choose one: --reject SCORE")
    facts = ModelFacts(name, task.name, trained.describe(), trained.classes, False, None, trained.preprocess, "heat")
    return ServedDefects(ImageAnomalyDetector(trained, task, machine), replace(facts, whole=True, threshold=threshold))
