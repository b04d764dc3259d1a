"""A model that answers images as they are in their files: what segmenters, detectors and detectors of defects share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.contract import Task
from applications.trained.checkpoint import Trained
from dataloader.sample import Batch
from dataloader.targets.plane_change import PlaneChange

Kind = TypeVar("Kind", bound=Task)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ImageModel(Generic[Kind, Answer]):
    """Answers images of any size, either brought to the size of the network, or in overlapping tiles of that size.

    Attributes:
        trained: the model, of a checkpoint or of an exported file.
        task: of the model.
        machine: where it computes.
        tiled: whether images are looked at in tiles, at their own scale.
    """

    trained: Trained
    task: Kind
    machine: Machine
    tiled: bool = False

    def look(self, pixels: Tensor) -> Any:
        """Return what the network says of uint8 (N, 3, H, W), as the task has it."""
        with torch.inference_mode(), self.machine.autocast():
            return self.task.forward(self.trained.model, Batch.unlabeled(pixels).to(self.machine.device))

    def answers(self, images: Sequence[np.ndarray]) -> list[Answer]:
        """Return the answers for images, uint8 (H, W, 3) of any sizes, which go through the network together unless they are tiled."""
        if self.tiled:
            return [self.of_tiles(image) for image in images]
        outputs = self.look(torch.stack([self.trained.preprocess.apply(image) for image in images]))
        return self.answers_of(outputs, [self.back(image) for image in images])

    def answers_of(self, outputs: Any, backs: Sequence[PlaneChange]) -> list[Answer]:
        """Return the answers for what `look` gave, in the planes to which `backs` lead."""
        return list(self.task.postprocess(outputs, backs))

    def of_tiles(self, image: np.ndarray) -> Answer:
        """Return the answer for an image that is looked at in tiles."""
        raise NotImplementedError(f"--task {self.task.name} looks at whole images")

    def back(self, image: np.ndarray) -> PlaneChange:
        """Return the way from what the network sees to an image."""
        size = (image.shape[0], image.shape[1])
        return self.trained.preprocess.change(size).undone(size)
