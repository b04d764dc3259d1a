"""A detector of defects's answers for whole images, at their own size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from applications.assemble import Machine
from applications.tasks.anomaly import Anomaly, DefectAnswer
from applications.trained.checkpoint import Trained
from dataloader.sample import Batch


@dataclass(frozen=True)
class ImageAnomalyDetector:
    """Answers for images as they are in their files.

    Attributes:
        trained: the model.
        task: what its answers mean.
        machine: where it is computed.
    """

    trained: Trained
    task: Anomaly
    machine: Machine

    def defects(self, pictures: Sequence[np.ndarray]) -> list[DefectAnswer]:
        """Return the answers for images uint8 (h, w, 3), with heat of their own sizes."""
        numbers = self.trained.preprocess
        batch = Batch.unlabeled(torch.stack([numbers.apply(picture) for picture in pictures]))
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        with torch.inference_mode(), self.machine.autocast():
            outputs = self.task.forward(self.trained.model, batch.to(self.machine.device))
        return self.task.postprocess(outputs, [numbers.change(size).undone(size) for size in sizes])
