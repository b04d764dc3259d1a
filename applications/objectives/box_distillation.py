"""Learning from other detectors while training: what they say at every place of the very batch that the student sees."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from applications.contract import Objective, StepResult
from criterions.detection.distance import box_distance
from criterions.distillation import DistanceTerms
from dataloader.images.preprocess import Normalize
from dataloader.sample import Batch
from models.detectors.detector import Detector, DetectorOutput


class CapturedOutput(nn.Module):
    """Passes on what a detector says, and keeps it for the objective around.

    Attributes:
        output: of the latest call.
    """

    output: DetectorOutput

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> DetectorOutput:
        self.output = self.network(images)
        return self.output


class BoxTeacher:
    """A trained detector as a teacher, which sees a batch at the size of the student.

    Args:
        model: on its device; it is left alone.
        normalize: its own.
    """

    def __init__(self, model: Detector, normalize: Normalize) -> None:
        self.model = model.eval().requires_grad_(False)
        self.normalize = normalize

    def __call__(self, images: Tensor) -> DetectorOutput:
        """Return what it says of images in 0..255, uint8 or float (N, 3, H, W)."""
        return self.model.predict(self.normalize(images))


class BoxDistillationObjective:
    """An objective with detectors for teachers: (1 - weight) x the loss of the data + weight x the mean distance to them.

    The distance is divided by what the loss of the data is divided by, the places that have an object.

    Args:
        objective: what the data teaches; it says what its loss is the mean of.
        teachers: they answer at the places of the student.
        terms: distance of logits with sigmoids.
        temperature: by which logits are divided before they are compared.
        weight: share of the teachers in the loss, in [0, 1].
    """

    def __init__(
        self, objective: Objective, teachers: Sequence[BoxTeacher], terms: DistanceTerms, *, temperature: float, weight: float
    ) -> None:
        self.objective = objective
        self.teachers = tuple(teachers)
        self.terms = terms
        self.temperature = temperature
        self.weight = weight

    def __call__(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch; the sums tell the teachers' part apart."""
        student = CapturedOutput(model)
        result = self.objective(student, batch, record=record)
        assert result.count is not None, "the loss of a detector is a mean over places"
        with torch.no_grad():
            answers = [teacher(batch.images) for teacher in self.teachers]
        with torch.autocast(batch.images.device.type, enabled=False):
            apart = torch.stack([box_distance(student.output, answer, self.terms, self.temperature) for answer in answers]).mean(0)
            distance = (apart * batch.weights).sum() / result.count
            loss = (1 - self.weight) * result.loss + self.weight * distance
        sums = {**result.sums, "loss": loss.detach() * len(batch), "distill": distance.detach() * len(batch)}
        return StepResult(loss, sums, result.count)
