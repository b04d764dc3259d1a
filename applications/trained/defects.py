"""What a detector of defects says of single images, at their own size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from applications.assemble import Machine
from applications.tasks.anomaly import Anomaly, DefectAnswer
from applications.trained.checkpoint import Trained
from dataloader.sample import Batch
from dataloader.targets.label import Unknown


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

    def of(self, pictures: Sequence[np.ndarray]) -> list[DefectAnswer]:
        """Return the answers for images uint8 (h, w, 3), with heat of their own sizes."""
        numbers, count = self.trained.preprocess, len(pictures)
        images = torch.stack([numbers.apply(picture) for picture in pictures])
        batch = Batch(images, Unknown.stack([Unknown()] * count), torch.ones(count), torch.arange(count))
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        with torch.inference_mode(), self.machine.autocast():
            outputs = self.task.forward(self.trained.model, batch.to(self.machine.device))
        return self.task.postprocess(outputs, [numbers.change(size).undone(size) for size in sizes])
