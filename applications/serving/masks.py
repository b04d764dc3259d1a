"""A segmenter that is served: the masks of --predict, areas, overlays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from applications.assemble import Machine
from applications.serving.schema import Answer, ClassArea, MaskAnswer
from applications.serving.served_model import ModelFacts, ServedModel, Wanted
from applications.settings.options import SingleImageOptions
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.masks import ImageSegmenter, is_tiled
from applications.trained.trained_task import build_trained_task
from utils.drawing.images import data_uri, png_uri, thumbnail
from utils.drawing.mask_pictures import class_colors, laid_over, mask_image

# Longer side of an overlay, in pixels.
SIDE = 1024


class MaskSaid(NamedTuple):
    """What a segmenter says: an image, uint8 (H, W, 3), and its mask, uint8 (H, W)."""

    image: np.ndarray
    mask: np.ndarray


class ServedMasks(ServedModel):
    """A segmenter, of a checkpoint or of an exported file."""

    def __init__(self, segmenter: ImageSegmenter, facts: ModelFacts) -> None:
        self.segmenter = segmenter
        self.facts = facts
        self.colors = class_colors(len(facts.classes))

    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> list[MaskSaid]:
        del drawn
        return [MaskSaid(picture, mask) for picture, mask in zip(pictures, self.segmenter.answers(pictures), strict=True)]

    def write(self, said: MaskSaid, wanted: Wanted) -> Answer:
        image, mask = said
        pixels = np.bincount(mask.ravel(), minlength=len(self.facts.classes))
        order = np.argsort(-pixels[: len(self.facts.classes)], kind="stable").tolist()
        areas = [
            ClassArea(
                label=self.facts.classes[number],
                color="#{:02x}{:02x}{:02x}".format(*self.colors[number].tolist()),
                pixels=int(pixels[number]),
                share=float(pixels[number] / mask.size),
            )
            for number in order
            if pixels[number]
        ]
        return Answer(
            model=self.facts.name,
            labels=[],
            unsure=False,
            top=[],
            heat_map=data_uri(thumbnail(laid_over(image, mask, self.colors), SIDE)) if wanted.drawn else None,
            segmentation=MaskAnswer(areas=areas, mask=png_uri(mask_image(mask, self.colors)) if wanted.mask else None),
        )


def open_masks(trained: Trained, name: str, machine: Machine, options: SingleImageOptions) -> ServedModel:
    """Return a segmenter to serve."""
    del options
    task = build_trained_task(trained, machine.device)
    assert isinstance(task, Segment)
    facts = ModelFacts(name, task.name, trained.describe(), trained.classes, False, None, trained.preprocess, "mask", whole=True)
    return ServedMasks(ImageSegmenter(trained, task, machine, is_tiled(trained)), facts)
