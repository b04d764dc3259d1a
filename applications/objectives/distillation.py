"""Learning from teachers while training: their answers to the very batch that the student sees, and their last maps.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (arXiv 1503.02531); FitNets (arXiv 1412.6550) for the maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from applications.contract import Objective, StepResult
from applications.objectives.captured_logits import CapturedLogits
from criterions.distillation import DistanceTerms, as_logits, feature_distance, tempered_mean
from criterions.elementwise import ActivationName
from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from models.backbone import Backbone


class TeacherOutput(NamedTuple):
    """What a teacher says of a batch: logits, float32 (N, C), and its last map (N, C', h, w), where it shows one."""

    logits: Tensor
    last_map: Tensor | None


class Teacher(Protocol):
    """A trained model that answers the student's batches; its activation is what its logits mean."""

    activation: ActivationName

    def __call__(self, images: Tensor) -> TeacherOutput:
        """Return the answer for images in 0..255, uint8 or float (N, 3, H, W), without gradient."""
        ...


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the images (N, 3, H, W) at another height and width, on their device; of the right size they stay as they are."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False, antialias=True)


class StudentWithMaps(nn.Module):
    """A student whose last map is kept, brought to the channels of its teachers by projections that learn with it.

    Attributes:
        network: the student, bare.
        projections: a 1x1 convolution a teacher.
        maps: what the projections made of the latest batch.
    """

    maps: list[Tensor]

    def __init__(self, network: Backbone, projections: nn.ModuleList) -> None:
        super().__init__()
        self.network = network
        self.projections = projections

    def forward(self, images: Tensor) -> Tensor:
        found = self.network.forward_features(images)
        self.maps = [projection(found[-1]) for projection in self.projections]
        return self.network.forward_head(found)


@dataclass(frozen=True)
class FeatureMatching:
    """How maps are compared: whose, by which distance, and what it counts."""

    student: StudentWithMaps
    kind: Literal["mse", "cosine"]
    weight: float


class DistillationObjective:
    """An objective with teachers: (1 - weight) x the loss of the data + weight x distance to the teachers (+ distance of the maps).

    Every term is multiplied by the sample weights; the distance is to the mean of the teachers' probabilities.

    Args:
        objective: what the data teaches.
        teachers: who else does.
        terms: distance of logits.
        activation: of the student.
        num_classes: width of dense targets.
        temperature: by which logits are divided before they are compared.
        weight: share of the teachers in the loss, in [0, 1].
        match: compares maps too; None does not.
    """

    def __init__(
        self,
        objective: Objective,
        teachers: Sequence[Teacher],
        terms: DistanceTerms,
        *,
        activation: ActivationName,
        num_classes: int,
        temperature: float,
        weight: float,
        match: FeatureMatching | None,
    ) -> None:
        self.objective = objective
        self.teachers = tuple(teachers)
        self.terms = terms
        self.activation: ActivationName = activation
        self.num_classes = num_classes
        self.temperature = temperature
        self.weight = weight
        self.match = match

    def __call__(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch; the sums tell the teachers' part apart."""
        student = CapturedLogits(model)
        result = self.objective(student, batch, record=record)
        with torch.no_grad():
            answers = [teacher(batch.images) for teacher in self.teachers]
        # Half precision is for the networks: small differences of probabilities would be rounded away.
        with torch.autocast(batch.images.device.type, enabled=False):
            logits = [
                as_logits(answer.logits, teacher.activation, self.activation)
                for answer, teacher in zip(answers, self.teachers, strict=True)
            ]
            mean = tempered_mean(logits, self.activation, self.temperature)
            targets = to_dense(batch.targets, self.num_classes)
            distance = (self.terms(student.logits.float(), mean, targets, self.temperature) * batch.weights).mean()
            loss = (1 - self.weight) * result.loss + self.weight * distance
            sums = {"distill": distance.detach() * len(batch)}
            if self.match is not None:
                apart = self._apart(self.match, answers, batch.weights)
                loss = loss + self.match.weight * apart
                sums["maps"] = apart.detach() * len(batch)
        return StepResult(loss, {**result.sums, "loss": loss.detach() * len(batch), **sums})

    def _apart(self, match: FeatureMatching, answers: Sequence[TeacherOutput], weights: Tensor) -> Tensor:
        """Return the mean distance between the student's projected maps and those of the teachers."""
        distances = []
        for ours, answer in zip(match.student.maps, answers, strict=True):
            assert answer.last_map is not None, "teachers without maps are refused before the run"
            distances.append((feature_distance(ours.float(), answer.last_map.float(), match.kind) * weights).mean())
        return torch.stack(distances).mean()
