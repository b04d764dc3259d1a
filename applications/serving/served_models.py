"""A model that is served: a checkpoint, or an exported file of any format in its own runtime."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from applications import assemble
from applications.assemble import Machine
from applications.explain.heat_maps import ExplainedBatch, Explainer, available, heat_maps
from applications.explain.heat_overlays import displayable, normalized, open_explainer
from applications.settings.options import Request
from applications.tasks import TASKS
from applications.tasks.labels import LabelAnswer, decide
from applications.trained.checkpoint import Trained, load_trained
from applications.trained.exported import Exported, is_exported, load_exported
from applications.trained.trained_task import build_label_task
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.label import Unknown
from utils.errors import UserError
from utils.images import overlay


@dataclass(frozen=True)
class ModelFacts:
    """What a page needs to know of a model.

    Attributes:
        name: how people call it, unlike the others'.
        description: in a line.
        classes: names, in the order of the probabilities.
        several: whether an image may have several labels.
        reject: the probability below which an answer of each class does not count; None where every answer counts.
        preprocess: what is done to images.
        heat_map: the method of its heat maps; None where it has none.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    several: bool
    reject: tuple[float, ...] | None
    preprocess: Preprocess
    heat_map: str | None


class ServedModel(ABC):
    """A model that answers for images of its own size. One thread at a time asks it."""

    facts: ModelFacts

    @abstractmethod
    def answers(self, images: Tensor) -> list[LabelAnswer]:
        """Return the answer for each image, uint8 (N, 3, H, W)."""

    @abstractmethod
    def heat(self, images: Tensor, classes: Sequence[int]) -> list[np.ndarray]:
        """Return each image, uint8 (N, 3, H, W), with the heat of a class laid over, uint8 (h, w, 3)."""


class ServedCheckpoint(ServedModel):
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
        count = len(images)
        batch = Batch(images, Unknown.stack([Unknown()] * count), torch.ones(count), torch.arange(count))
        with torch.inference_mode(), self.machine.autocast():
            return self.task.postprocess(self.task.forward(self.trained.model, batch.to(self.machine.device)))

    def heat(self, images: Tensor, classes: Sequence[int]) -> list[np.ndarray]:
        assert self.facts.heat_map is not None
        pictures = list(images)
        look = ExplainedBatch(self.explainer, normalized(self.trained, pictures))
        found = heat_maps(self.facts.heat_map, look, torch.tensor(classes, device=look.x.device))
        return [overlay(displayable(picture), each) for picture, each in zip(pictures, found, strict=True)]


class ServedFile(ServedModel):
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


def open_models(request: Request, machine: Machine, method: str) -> list[ServedModel]:
    """Open the models that --serve names.

    Raises:
        UserError: one is missing, damaged or foreign, lacks its runtime, or does not answer with labels.
    """
    models: list[ServedModel] = []
    for place in request.subjects:
        name = _name(place, {model.facts.name for model in models})
        if is_exported(place):
            models.append(_open_file(Path(place), name, machine, request.config.look.reject))
        else:
            models.append(_open_checkpoint(request, place, name, machine, method))
    return models


def _open_checkpoint(request: Request, place: str, name: str, machine: Machine, method: str) -> ServedCheckpoint:
    trained = load_trained(place, request.given, request.action, machine.device)
    fits, reasons = available([method], open_explainer(trained))
    if not fits and request.config.look.visual_method is not None:
        raise UserError(f"--visual_method {method}: {reasons[0]}; take grad-cam")
    task = build_label_task(trained, machine.device)
    facts = ModelFacts(
        name,
        trained.describe(),
        trained.classes,
        task.chosen.multi_label,
        trained.calibration.rejecting(request.config.look.reject, len(trained.classes)),
        trained.preprocess,
        method if fits else None,
    )
    return ServedCheckpoint(trained, machine, facts)


def _open_file(path: Path, name: str, machine: Machine, reject: float | None) -> ServedFile:
    exported = load_exported(path, machine.device)
    assemble.refuse_unable(TASKS.resolve(exported.facts.task), {"serve": True})
    calibration = exported.facts.calibration
    refused = calibration.rejecting(reject, len(exported.classes))
    facts = ModelFacts(name, exported.describe(), exported.classes, calibration.multi_label, refused, exported.preprocess, None)
    return ServedFile(exported, machine.device, facts)


def _name(place: str, taken: set[str]) -> str:
    """Return a short name that no other model has."""
    path = Path(place).resolve()
    short = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
    return short if short not in taken else next(f"{short} ({n})" for n in range(2, len(taken) + 3) if f"{short} ({n})" not in taken)
