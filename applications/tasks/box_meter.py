"""What is kept of boxes while images come: the answers and the truth of each, from which COCO's figures follow."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from applications.tasks.box_answers import BoxAnswer, Choice, answer_of
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.plane_change import scaled
from dataloader.targets.target import Target
from models.detectors.tempered import tempered
from utils.metrics.average_precision import CocoFigures, coco_figures
from utils.metrics.box_matching import AnsweredBoxes, Matches, TrueBoxes, match_boxes

# Least score of answers that are measured: average precision looks at how far recall goes, so nearly all of them count.
MEASURED = 0.001


class BoxRow(NamedTuple):
    """An image: what is answered, and the truth: corners (K, 4), classes (K,), crowds (K,), areas (K,)."""

    answer: BoxAnswer
    corners: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


class BoxState(NamedTuple):
    """What a `BoxMeter` has counted: plain values, to be sent to another process.

    Attributes:
        rows: position of an image -> its boxes.
        losses: position of an image -> its loss.
    """

    rows: dict[int, BoxRow]
    losses: dict[int, float]


class BoxMeter:
    """Keeps the boxes of every image. Images are measured in the order of the split, so the figures are those of one process.

    Args:
        classes: names.
        choice: which boxes are answered.
    """

    def __init__(self, classes: Sequence[str], choice: Choice) -> None:
        self.classes = tuple(classes)
        self.choice = choice
        self.rows: dict[int, BoxRow] = {}
        self.losses: dict[int, float] = {}

    def update(self, batch: Batch, outputs: "BoxOutputs") -> None:
        """Count a batch: boxes and what the network says of them, in the plane of what it sees."""
        truth = batch.targets
        assert isinstance(truth, BoxBatch)
        truth = truth.to("cpu", non_blocking=False)
        self._count_loss(batch, outputs)
        # As on the original images, boxes end at the border.
        frame = (batch.images.shape[-2], batch.images.shape[-1])
        border = scaled(frame, frame)
        for number, (index, said) in enumerate(zip(batch.indices.tolist(), outputs.said, strict=True)):
            if index >= 0:
                own = truth.rows(number)
                known = (each[own].numpy() for each in (truth.corners, truth.classes, truth.crowd, truth.areas))
                self._keep(index, BoxRow(answer_of(said, self.choice, border), *known))

    def _count_loss(self, batch: Batch, outputs: "BoxOutputs") -> None:
        if outputs.losses is not None:
            pairs = zip(batch.indices.tolist(), outputs.losses.tolist(), strict=True)
            self.losses |= {index: loss for index, loss in pairs if index >= 0}

    def _keep(self, index: int, row: BoxRow) -> None:
        self.rows[index] = row
        for name in ("truths", "answers", "matches", "coco"):
            self.__dict__.pop(name, None)

    def state(self) -> BoxState:
        """Return what was counted."""
        return BoxState(self.rows, self.losses)

    def merge(self, state: BoxState) -> None:
        """Count what another process has counted."""
        for index, row in state.rows.items():
            self._keep(index, row)
        self.losses |= state.losses

    def temper(self, temperature: float) -> None:
        """Bring the scores of all answers to a temperature."""
        for index, row in self.rows.items():
            scores = tempered(torch.from_numpy(row.answer.scores), temperature).numpy()
            self._keep(index, row._replace(answer=row.answer._replace(scores=scores)))

    @property
    def positions(self) -> list[int]:
        """Positions of the images, ascending."""
        return sorted(self.rows)

    @cached_property
    def truths(self) -> TrueBoxes:
        """The true boxes of all images, which are numbered from 0 in the order of their positions."""
        rows = [self.rows[index] for index in self.positions]
        images = np.repeat(np.arange(len(rows)), [len(row.classes) for row in rows])
        corners = np.concatenate([np.empty((0, 4), np.float32), *(row.corners for row in rows)])
        parts = ((np.int64, "classes"), (bool, "crowd"), (np.float64, "areas"))
        classes, crowd, areas = (np.concatenate([np.empty(0, kind), *(getattr(row, name) for row in rows)]) for kind, name in parts)
        return TrueBoxes(images, classes, corners, crowd, areas)

    @cached_property
    def answers(self) -> AnsweredBoxes:
        """The answered boxes of all images, which are numbered as in `truths`."""
        rows = [self.rows[index].answer for index in self.positions]
        images = np.repeat(np.arange(len(rows)), [len(row.classes) for row in rows])
        corners = np.concatenate([np.empty((0, 4), np.float32), *(row.corners for row in rows)])
        classes, scores = (
            np.concatenate([np.empty(0, kind), *(getattr(row, name) for row in rows)])
            for kind, name in ((np.int64, "classes"), (np.float32, "scores"))
        )
        return AnsweredBoxes(images, classes, corners, scores)

    @cached_property
    def matches(self) -> Matches:
        """What the answers find."""
        return match_boxes(self.truths, self.answers)

    @cached_property
    def coco(self) -> CocoFigures:
        """COCO's figures."""
        return coco_figures(self.matches, len(self.classes))

    def figures(self) -> dict[str, float]:
        """Return the mean loss of an image, where the network tells it, AP, AP50 and AP75; 0 where there is nothing to find."""
        summary = self.coco.summary
        loss = {"loss": sum(self.losses[each] for each in sorted(self.losses)) / max(1, len(self.rows))} if self.losses else {}
        return loss | {name: max(0.0, summary[name]) for name in ("AP", "AP50", "AP75")}

    def one_answer(self) -> str:
        """Return the clause where no image is answered with a box although there are some, or all boxes get one of several classes."""
        if not len(self.truths.classes):
            return ""
        if not len(self.answers.classes):
            return f"none of {len(self.rows)} images is answered with a box"
        found = np.unique(self.answers.classes)
        alike = len(found) == 1 and len(np.unique(self.truths.classes)) > 1
        return f"all boxes are answered '{self.classes[found[0]]}'" if alike else ""


class BoxOutputs(NamedTuple):
    """What a detector says of N images in evaluation.

    Attributes:
        said: left, top, right, bottom in pixels of the network's input, objectness, probabilities of the classes, (N, A, 4 + 1 + C).
        losses: of the images, (N,); None where the network does not tell it, as an exported file.
    """

    said: Tensor
    losses: Tensor | None = None


class BoxRows(BoxMeter):
    """Counts boxes on the original images, whatever the network saw.

    Args:
        classes: names.
        choice: which boxes are answered.
        truth: position of an image -> its boxes.
        preprocess: how the image became what the network saw.
    """

    def __init__(self, classes: Sequence[str], choice: Choice, truth: Callable[[int], Target], preprocess: Preprocess) -> None:
        super().__init__(classes, choice)
        self.truth = truth
        self.preprocess = preprocess

    def update(self, batch: Batch, outputs: BoxOutputs) -> None:
        """Count a batch, against the boxes of the files."""
        self._count_loss(batch, outputs)
        for index, said in zip(batch.indices.tolist(), outputs.said, strict=True):
            if index >= 0:
                boxes = self.truth(index)
                size = boxes.image_size()
                assert size is not None
                self.compare(index, answer_of(said, self.choice, self.preprocess.change(size).undone(size)), boxes)

    def compare(self, index: int, answer: BoxAnswer, boxes: Target) -> None:
        """Count the image at a position."""
        assert isinstance(boxes, Boxes)
        self._keep(index, BoxRow(answer, boxes.corners, boxes.classes, boxes.crowd, boxes.areas))


def said_by_file(outputs: Sequence[Tensor], classes: int) -> Tensor:
    """Return what an exported file answers as a network does, (N, A, 4 + 1 + C).

    Args:
        outputs: corners (N, A, 4) and scores (N, A, C); of chosen boxes corners (N, K, 4), scores (N, K), and classes (N, K), -1 for none.
        classes: C.
    """
    corners, scores, *named = (each.float() for each in outputs)
    if named:
        label = named[0].long()
        scores = torch.nn.functional.one_hot(label.clamp(min=0), classes) * (scores * (label >= 0))[..., None]
    return torch.cat([corners, torch.ones_like(corners[..., :1]), scores], -1)
