"""A classifier that is served: a checkpoint, or an exported file of any format in its own runtime."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.explain.heat_maps import ExplainedBatch, Explainer, available, heat_maps
from applications.explain.heat_overlays import displayable, normalized, open_explainer
from applications.explain.methods import named_methods
from applications.serving.schema import Answer, LabelShare
from applications.serving.served_model import ModelFacts, ServedModel, Wanted
from applications.settings.options import SingleImageOptions
from applications.tasks.label_answers import LabelAnswer, decide
from applications.trained.checkpoint import Trained
from applications.trained.exported import Exported
from applications.trained.inference import answer_images
from applications.trained.trained_task import build_label_task
from utils.drawing.images import data_uri, overlay
from utils.errors import UserError


@dataclass(frozen=True, eq=False)
class LabelSaid:
    """What a classifier says of an image; `heat` is the image with its heat map, uint8 (h, w, 3), where it was asked for."""

    answer: LabelAnswer
    heat: np.ndarray | None = None


class ServedLabels(ServedModel):
    """A classifier that answers for images of its own size."""

    @abstractmethod
    def answers(self, images: Tensor) -> list[LabelAnswer]:
        """Return the answer for each image, uint8 (N, 3, H, W)."""

    @abstractmethod
    def heat(self, images: Tensor, classes: Sequence[int]) -> list[np.ndarray]:
        """Return each image, uint8 (N, 3, H, W), with the heat of a class laid over, uint8 (h, w, 3)."""

    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> list[LabelSaid]:
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
        answers = self.answers(images)
        looked = [row for row, wanted in enumerate(drawn) if wanted and self.facts.heat_map is not None]
        heat: dict[int, np.ndarray] = {}
        if looked:
            classes = [int(answers[row].probabilities.argmax()) for row in looked]
            heat = dict(zip(looked, self.heat(images[looked], classes), strict=True))
        return [LabelSaid(answer, heat.get(row)) for row, answer in enumerate(answers)]

    def write(self, said: LabelSaid, wanted: Wanted) -> Answer:
        return answer_of(self.facts, said.answer, wanted.top, said.heat)


def answer_of(facts: ModelFacts, said: LabelAnswer, top: int, heat: np.ndarray | None = None) -> Answer:
    """Return what a model says, as the API writes it: as --predict does, it names nothing below the stored probabilities.

    Args:
        facts: the model.
        said: probabilities, and the classes that it names.
        top: how many classes are listed.
        heat: the image with its heat map, uint8 (h, w, 3).
    """

    def share(label: int) -> LabelShare:
        return LabelShare(label=facts.classes[label], probability=float(said.probabilities[label]))

    labels = [share(label) for label in said.labels(facts.reject)]
    return Answer(
        model=facts.name,
        labels=labels,
        unsure=not labels and bool(said.named.any()),
        top=[share(label) for label in said.ranked()[:top]],
        heat_map=None if heat is None else data_uri(heat),
    )


class ServedCheckpoint(ServedLabels):
    """The model of a run or a checkpoint."""

    def __init__(self, trained: Trained, machine: Machine, facts: ModelFacts) -> None:
        self.trained = trained
        self.machine = machine
        self.task = build_label_task(trained, machine.device)
        self.facts = facts

    @cached_property
    def explainer(self) -> Explainer:
        return open_explainer(self.trained)

    def answers(self, images: Tensor) -> list[LabelAnswer]:
        return answer_images(self.trained, self.task, images, self.machine)

    def heat(self, images: Tensor, classes: Sequence[int]) -> list[np.ndarray]:
        assert self.facts.heat_map is not None
        pictures = list(images)
        look = ExplainedBatch(self.explainer, normalized(self.trained, pictures))
        found = heat_maps(self.facts.heat_map, look, torch.tensor(classes, device=look.x.device))
        return [overlay(displayable(picture), each) for picture, each in zip(pictures, found, strict=True)]


class ServedFile(ServedLabels):
    """An exported file."""

    def __init__(self, exported: Exported, device: torch.device, facts: ModelFacts) -> None:
        self.exported = exported
        self.device = device
        self.facts = facts

    def answers(self, images: Tensor) -> list[LabelAnswer]:
        with torch.inference_mode():
            probabilities = self.exported.module(images.to(self.device)).float().nan_to_num(0.0).cpu()
        named = decide(probabilities, self.exported.facts.thresholds)
        return [LabelAnswer(*pair) for pair in zip(probabilities.numpy(), named.numpy(), strict=True)]

    def heat(self, images: Tensor, classes: Sequence[int]) -> list[np.ndarray]:
        del images, classes
        raise AssertionError("it has no heat maps, and says so")


def open_labels(trained: Trained, name: str, machine: Machine, options: SingleImageOptions) -> ServedModel:
    """Return a classifier to serve.

    Raises:
        UserError: --visual_method names several methods, or one that the network has not.
    """
    method = _one_method(options.visual_method)
    fits, reasons = available([method], open_explainer(trained))
    if not fits and options.visual_method is not None:
        raise UserError(f"--visual_method {method}: {reasons[0]}; take grad-cam")
    task = build_label_task(trained, machine.device)
    facts = ModelFacts(
        name, trained.task, trained.describe(), trained.classes, task.chosen.multi_label,
        trained.calibration.rejecting(options.reject, len(trained.classes)), trained.preprocess, method if fits else None,
    )  # fmt: skip
    return ServedCheckpoint(trained, machine, facts)


def open_label_file(exported: Exported, name: str, machine: Machine, options: SingleImageOptions) -> ServedModel:
    """Return the file of a classifier to serve.

    Raises:
        UserError: --visual_method names several methods.
    """
    _one_method(options.visual_method)
    calibration = exported.facts.calibration
    several, refused = calibration.multi_label, calibration.rejecting(options.reject, len(exported.classes))
    facts = ModelFacts(name, exported.facts.task, exported.describe(), exported.classes, several, refused, exported.preprocess, None)
    return ServedFile(exported, machine.device, facts)


def _one_method(asked: str | None) -> str:
    methods = named_methods(asked or Explainer.default)
    if len(methods) > 1:
        raise UserError(f"--visual_method {asked}: --serve draws one kind of heat map; name one")
    return methods[0]
