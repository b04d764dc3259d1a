"""What a model answers for real images, and how the answers of its file are compared with that: the contract of REFERENCES."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

from applications.assemble import Machine
from applications.contract import Task
from applications.export.answers import Answers
from applications.export.parity import Allowed, Figures, Parity, Words, class_shares, largest_of, worst_of
from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.format import Holds
from applications.settings.options import ExportOptions
from applications.trained.checkpoint import Trained
from applications.trained.trained_task import build_trained_task
from dataloader.images.read import ImageError
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.logs import log
from utils.progress_bar import progress_bar
from utils.text import counted

# Images of a comparison: as many as their answers have room in so many bytes, at least a few.
MOST_IMAGES, FEWEST_IMAGES = 512, 8
MOST_BYTES = 2**28

Kind = TypeVar("Kind", bound=Task)


class Reference(ABC, Generic[Kind]):
    """Some images, and all that --export, --int8 and --benchmark need to know of the answers of a task.

    The answer of an image is one array. `joined` makes it of what a file answers, `said` of what the model says.

    Args:
        task: what answers mean.
        split: the images.

    Attributes:
        allowed: precision -> what a file may differ by; a precision without an entry is not written.
        words: how answers are spoken of.
        demo: the program of demos/ that opens its files; '' for none.
        quantized: beginning of the names of the layers that may be quantized.
    """

    allowed: ClassVar[Mapping[str, Allowed]]
    words: ClassVar[Words]
    demo: ClassVar[str]
    quantized: ClassVar[str] = ""

    def __init__(self, task: Kind, split: Split) -> None:
        self.task = task
        self.split = split

    @staticmethod
    def build_task(trained: Trained, device: torch.device) -> Task:
        """Return the task of a model, with what the user wants of its answers."""
        return build_trained_task(trained, device)

    @staticmethod
    @abstractmethod
    def deploy(trained: Trained, task: Any, options: ExportOptions, *, any_size: bool) -> Deployed:
        """Return the parts of a model as a file of --half, --with_features or the like is to hold them."""

    @staticmethod
    @abstractmethod
    def facts(trained: Trained, task: Any, options: ExportOptions, holds: Holds) -> dict[str, Any]:
        """Return what a file says of itself beside what files of all tasks do: activation, outputs, thresholds."""

    @staticmethod
    def joined(outputs: Sequence[np.ndarray], facts: Facts) -> np.ndarray:
        """Return the answers (N, ...) of the outputs of a file."""
        del facts
        return outputs[0]

    @staticmethod
    @abstractmethod
    def said(trained: Trained, task: Any, pixels: torch.Tensor, machine: Machine) -> np.ndarray:
        """Return the answers (N, ...) that evaluation gets of the model, for images uint8 (N, 3, H, W) of the network's own size."""

    @abstractmethod
    def figures(self, answers: Iterable[tuple[int, np.ndarray]], facts: Facts) -> Figures:
        """Return how good answers of images are, (position in the split, answer), by the truth; `facts` are of what answered."""

    @abstractmethod
    def compare(self, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> Parity:
        """Compare what a file answered with what the model did.

        Args:
            expected: answers of the model to all images, (N, ...).
            answers: of the file.
            facts: what the file should say of itself.
            allowed: how much it may differ.
        """

    def parity(self, single: np.ndarray, batched: np.ndarray, agreeing: tuple[int, int], figures: tuple[Figures, Figures]) -> Parity:
        """Return what a comparison came to.

        Args:
            single: differences of each image, (N, ...), one by one.
            batched: the same of several at a time.
            agreeing: how many answers agree, of how many.
            figures: of the model and of the file.
        """
        mine, theirs = figures
        alone, together = self.mean_differences(single), self.mean_differences(batched)
        return Parity(
            images=len(single),
            answers=agreeing[1],
            agreeing=agreeing[0],
            largest=largest_of(single),
            mean=float(alone.mean()),
            batched=largest_of(batched),
            headline=mine.name,
            model=mine.value,
            file=theirs.value,
            worst=worst_of(single),
            words=self.words,
            classes=class_shares(mine, theirs),
            worst_mean=float(np.maximum(largest_of(alone), largest_of(together))),
        )

    def worse_figures(self, single: np.ndarray, batched: np.ndarray, facts: Facts, allowed: Allowed) -> Figures:
        """Return the figures of answers one by one; where what is lost is bounded, of those of several at a time if these lose more."""
        alone = self.figures(enumerate(single), facts)
        if allowed.drop is None or np.isnan(alone.value):
            return alone
        together = self.figures(enumerate(batched), facts)
        return alone if alone.value <= together.value else together

    def mean_differences(self, differences: np.ndarray) -> np.ndarray:
        """Return how far the answer to each image has moved on average, (N,), of differences (N, ...)."""
        return differences.reshape(len(differences), -1).mean(1)

    def distance(self, answer: np.ndarray, expected: np.ndarray, facts: Facts) -> float:
        """Return how far an answer has moved."""
        del facts
        return float(np.abs(answer - expected).sum())


def read_reference(trained: Trained, task: Task, held: Split, kind: type[Reference], machine: Machine) -> tuple[Reference, np.ndarray]:
    """Return a reference on as many images of a split as can be compared, and the model's answers to them, (N, ...)."""
    numbers = trained.preprocess

    def answer(index: int) -> np.ndarray:
        return kind.said(trained, task, numbers.apply(held.read(index))[None], machine)[0]

    chosen = spread(len(held), MOST_IMAGES)
    if not len(chosen):
        raise UserError(f"{held.display_path}: the {held.name} split is empty; there is nothing to compare on")
    size = next((answer(index).nbytes for index in chosen if is_readable(held, index)), None)
    if size is None:
        raise UserError(f"{held.display_path}: no {held.name} image can be read; there is nothing to compare on")
    room = MOST_BYTES // max(1, size)
    chosen = spread(len(held), max(FEWEST_IMAGES, min(MOST_IMAGES, room)))
    answers, unreadable = {}, []
    with progress_bar(f"{held.name} images", len(chosen)) as advance:
        for index in chosen:
            try:
                answers[index] = answer(index)
            except ImageError as error:
                unreadable.append(str(error))
            advance(1)
    if unreadable:
        log().warning(f"{counted(len(unreadable), f'{held.name} image')} left out of the comparison: {unreadable[0]}")
    return kind(task, held.subset(list(answers))), np.stack(list(answers.values()))


def is_readable(split: Split, index: int) -> bool:
    """Return whether an image of a split can be read."""
    try:
        split.read(index)
    except ImageError:
        return False
    return True


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` positions, evenly, since the classes of a split may follow one another."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist() if count else []
