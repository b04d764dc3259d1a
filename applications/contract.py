"""The contract of tasks: what a batch means, its loss, its figures, its answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dataloader.images.preprocess import Preprocess
from dataloader.sample import Batch
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models.options import ModelOptions


@dataclass(frozen=True)
class StepResult:
    """The result of one training step: the loss, and sums for the report.

    Attributes:
        loss: scalar with gradient, the mean over the samples of the batch, or over what `count` counts.
        sums: name -> scalar summed over the samples, detached, on the device.
        count: of what the loss is the mean where these are not the samples, scalar, detached: of several batches or processes the sums
            belong over the sum of the counts.
    """

    loss: Tensor
    sums: Mapping[str, Tensor]
    count: Tensor | None = None


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that goes into an exported model, or comes out of it.

    Attributes:
        name: by which a program addresses it.
        dtype: as torch and NumPy call it, such as 'uint8'.
        axes: a number for an axis of that length, a name for one that may differ from call to call; equal names are equal lengths.
    """

    name: str
    dtype: str
    axes: tuple[int | str, ...]


@dataclass(frozen=True)
class Signature:
    """What an exported model takes and answers; post-processing up to the outputs is inside."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Meter(Protocol):
    """Computes the metrics of a split from its batches as they come. It keeps rows only where its task needs rows."""

    def update(self, batch: Batch, outputs: Any) -> None:
        """Count a batch. Rows with a negative index are padding.

        Args:
            batch: on the device.
            outputs: of `Task.forward` for it.
        """
        ...

    def state(self) -> Any:
        """Return what was counted, plain values and tensors on the CPU, to be sent to another process."""
        ...

    def merge(self, state: Any) -> None:
        """Count what the meter of another process has counted, its `state`."""
        ...

    def figures(self) -> dict[str, float]:
        """Return the metrics that the task names, over all that was counted; with 'loss' and the headline where gradients are followed."""
        ...

    def one_answer(self) -> str:
        """Return a clause such as "all 90 images are answered 'cat'" where all answers are equal although the labels are not; else ''."""
        ...


class Task(Protocol):
    """What a batch means. It never sees optimizers, processes or checkpoints.

    A row of TASKS is called as `kind(classes, criterion, preprocess, device)`:

    Args:
        classes: names, in the order of the network's outputs.
        criterion: of its `build_criterion`: the loss of training; for a trained model, without weighters.
        preprocess: its numbers normalize the images of a batch, which are uint8.
        device: where batches come to lie.
    """

    name: str
    # The type of target that it takes; it decides which data fits.
    target: ClassVar[type[Target]]
    # How many classes it needs at least.
    fewest_classes: ClassVar[int]
    # Rows of ABILITIES that it has, in addition to training and evaluation.
    abilities: ClassVar[frozenset[str]]
    # The metric by which the best checkpoint is chosen; higher is better.
    headline: str
    # Names of the metrics of its meter; those of the class are all that any instance may have. All but the loss are shares, from 0 to 1.
    metric_names: tuple[str, ...]

    def __init__(self, classes: Sequence[str], criterion: Any, preprocess: Preprocess, device: torch.device) -> None: ...

    # How many times --lr the head learns at beside trained weights, where --head_lr says nothing.
    head_rate: ClassVar[float]
    # The spec of the loss where --criterion names none.
    usual_criterion: ClassVar[str]
    # Called with a chain of specs and the arguments of `build_criterion`: the loss that the instance takes.
    build_criterion: ClassVar[Callable[..., Any]]

    # Brings images to what the network takes; an exported file does that by itself.
    normalize: nn.Module

    @property
    def criterion(self) -> nn.Module:
        """The loss; its buffers are saved and restored."""
        ...

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        """Return the network that the options name, with random weights and the head that this task needs.

        Flags of the head and of starting weights are for a `Network`, pruned widths for a `Backbone`; another module is trained and
        read back without them.

        Raises:
            UserError: there is no such network, or it cannot have such a head.
        """
        ...

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch, with gradient; unless `record`, the counts of the criterion stay as they are."""
        ...

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        """Return the outputs of the network for a batch in evaluation, on the device, in float32: for the meter, and for `postprocess`."""
        ...

    def meter(self, images: int) -> Meter:
        """Return a new meter for at most `images` images over all processes; `calibrate`, `table` and `render` take one."""
        ...

    def calibrate(self, meter: Any) -> None:
        """Choose on the validation images what is not trained, such as a temperature; does nothing where there is nothing to choose.

        The metrics of the meter follow what was chosen.
        """
        ...

    def calibration(self) -> dict[str, Any]:
        """Return what `calibrate` chose, as plain values for checkpoints."""
        ...

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        """Take what `calibration` returned; what an older checkpoint lacks gets its default."""
        ...

    def postprocess(self, outputs: Any, changes: Sequence[PlaneChange] = ()) -> Sequence[Any]:
        """Return the answer for each image of a batch, in the plane of the original image.

        Args:
            outputs: of `forward`.
            changes: the way back to the plane of each original image: `Preprocess.change(size).undone(size)`. Answers for the whole image
                need none.
        """
        ...

    def table(self, meter: Any) -> list[list[str]]:
        """Return the table that a person reads first: a header, then rows of text."""
        ...

    def render(self, meter: Any, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write tables and pictures of a whole split, whose image i is paths[i]; return the files."""
        ...

    def signature(self) -> Signature:
        """Return what an exported model takes and answers."""
        ...


class LearnsInPasses(ABC):
    """A task that learns without gradients: in passes over the training images, each of which `finish` ends.

    Afterwards it looks at held-out images, which give its answers their scale. It never makes a `training_step`.
    """

    @abstractmethod
    def passes(self, model: nn.Module) -> int:
        """Return how many passes over the training images the network needs."""

    @abstractmethod
    def observe(self, model: nn.Module, batch: Batch) -> None:
        """Take a batch of a pass."""

    @abstractmethod
    def finish(self, model: nn.Module) -> None:
        """End a pass; after the last one the network can answer.

        Raises:
            UserError: the images were too few.
        """

    @abstractmethod
    def observe_held_out(self, model: nn.Module, batch: Batch) -> None:
        """Take a batch of held-out images, after the last pass."""

    @abstractmethod
    def settle(self, model: nn.Module) -> None:
        """Choose the scale of the answers by the held-out images.

        Raises:
            UserError: there is none that could.
        """

    @abstractmethod
    def strangeness(self, model: nn.Module, batch: Batch, first: int) -> Tensor:
        """Return how strange images that were learned from look to what was learned from the others, (N,).

        Args:
            model: after the last pass.
            batch: of the training images, in the order of a pass.
            first: how many images came before it.
        """

    @abstractmethod
    def calibrate(self, meter: Any, groups: np.ndarray | None = None) -> None:
        """Choose on held-out images what is not observed, such as a threshold.

        Args:
            meter: of the held-out images.
            groups: number of the group of each image of the split, (N,), which counts once; None where the images are independent.
        """

    @abstractmethod
    def chosen(self) -> str:
        """Return in words what `calibrate` chose, and by what."""


class Objective(Protocol):
    """The loss of a training batch: a task's `training_step`, or one that adds to it, such as distillation."""

    def __call__(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss of a batch; unless `record`, statistics stay as they are (the second pass of SAM, for example)."""
        ...


# (batch, step, rank) -> batch, on the device.
Transform = Callable[[Batch, int, int], Batch]
