"""What a model answers for the images of the comparison, and how the answers of its file are compared with that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.contract import Task
from applications.export.parity import ALLOWED, Allowed, Parity, compare, in_order
from applications.export.probe import Answers
from applications.formats.facts import Facts
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.inference import predict_split
from dataloader.sample import Batch
from dataloader.splits.split import Split
from dataloader.targets.mask import IGNORE, Mask
from utils.errors import UserError

# Images of a comparison; of masks as many as have room in this many bytes, at least a few.
MOST_IMAGES = 512
MOST_BYTES = 2**27
FEWEST_MASKS = 4
# Of masks, a class may turn where two are equally probable; 16 bits move a probability at an edge farther than one of a whole image.
ALLOWED_MASKS = {"fp32": Allowed(1e-3, 0.9999), "half": Allowed(0.1, 0.99)}
# Pixels in which two classes are as close as that lie between them.
TIE = 1e-4


@dataclass(frozen=True)
class LabelReference:
    """The labels of some images.

    Attributes:
        task: what they mean.
        split: the images.
        allowed: precision -> what a file may differ by; a precision without an entry is not written.
    """

    task: LabelTask
    split: Split
    expected: Prediction
    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED

    def compare(self, answers: Answers, facts: Facts) -> Parity:
        """Compare what a file answered for the images, in their order; `facts` is what it should say of itself."""
        return compare(answers, self.expected, facts, self.task)


@dataclass(frozen=True)
class MaskReference:
    """The masks of some images, at the size of the network.

    Attributes:
        probabilities: float32 (N, C, h, w).
        truths: their masks, uint8 (N, h, w).
    """

    task: Segment
    split: Split
    probabilities: Tensor
    truths: Tensor
    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED_MASKS

    def compare(self, answers: Answers, facts: Facts) -> Parity:
        """As for labels."""
        single, batched = (
            in_order(torch.from_numpy(part), answers.facts.classes, facts.classes) for part in (answers.single, answers.batched)
        )
        wanted = self.probabilities
        if single.shape != wanted.shape:
            single = batched = torch.full_like(wanted, float("nan"))
        difference = (single - wanted).abs()
        top = wanted.topk(2, dim=1).values
        same = (single.argmax(1) == wanted.argmax(1)) | (top[:, 0] - top[:, 1] < TIE)
        same &= ~single.isnan().any(1)
        figures = [self._figure(each) for each in (wanted, single.nan_to_num(0.0))]
        return Parity(
            images=len(wanted),
            agreeing=int(same.sum()),
            largest=_largest(difference),
            mean=float(difference.mean()),
            batched=_largest((batched - wanted).abs()),
            headline=self.task.headline,
            model=figures[0],
            file=figures[1],
            worst=int(np.argmax(np.nan_to_num(difference.flatten(1).amax(1).numpy(), nan=np.inf))),
            answers=same.numel(),
            answered="pixels",
        )

    def _figure(self, probabilities: Tensor) -> float:
        count = len(probabilities)
        meter = self.task.meter(count)
        batch = Batch(torch.empty(count, 0), self.truths, torch.ones(count), torch.arange(count))
        meter.update(batch, probabilities)
        return meter.figures()[self.task.headline]


Reference = LabelReference | MaskReference


def _largest(difference: Tensor) -> float:
    return float("nan") if bool(difference.isnan().any()) else float(difference.max())


def thin_out(split: Split, most: int) -> Split:
    """Return at most `most` images, spread evenly over the split."""
    if len(split) == 0:
        raise UserError(f"{split.display_path}: the {split.name} split is empty; there is nothing to compare on")
    step = max(1, -(-len(split) // most))
    return split.subset(range(0, len(split), step))


def read_reference(trained: Trained, task: Task, split: Split, machine: Machine, asked: str) -> Reference:
    """Return what the model answers for at most as many images of a split as can be compared.

    Raises:
        UserError: no file can be compared with the answers of this task.
    """
    if isinstance(task, LabelTask):
        split = thin_out(split, MOST_IMAGES)
        return LabelReference(task, split, predict_split(trained, split, task, machine))
    if isinstance(task, Segment):
        height, width = trained.preprocess.image_size
        room = MOST_BYTES // (4 * len(trained.classes) * height * width)
        return read_masks(trained, task, thin_out(split, max(FEWEST_MASKS, min(MOST_IMAGES, room))))
    raise UserError(f"{asked} compares labels and masks, which --task {task.name} of {trained.path} does not give")


def read_masks(trained: Trained, task: Segment, split: Split) -> MaskReference:
    """Return what a segmenter says of every image of a split."""
    numbers, parts, truths = trained.preprocess, [], []
    with torch.inference_mode():
        for index in range(len(split)):
            image = split.read(index)
            outputs = task.forward(trained.model, _alone(numbers.apply(image)[None]))
            parts.append(task.criterion.probabilities(outputs))
            mask = split.target(index).moved(numbers.change((image.shape[0], image.shape[1])))
            assert isinstance(mask, Mask)
            truths.append(mask.ids)
    return MaskReference(task, split, torch.cat(parts), torch.from_numpy(np.stack(truths)))


def _alone(images: Tensor) -> Batch:
    count = len(images)
    return Batch(images, torch.full((count, *images.shape[2:]), IGNORE, dtype=torch.uint8), torch.ones(count), torch.arange(count))
