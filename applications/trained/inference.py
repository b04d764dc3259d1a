"""A trained model's answers for a whole split."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from applications import assemble
from applications.assemble import Machine
from applications.contract import Meter, Task
from applications.engine.score import score
from applications.tasks.label_answers import LabelAnswer
from applications.tasks.label_meter import LabelMeter
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained
from applications.trained.exported import ExportedNetwork
from dataloader.sample import Batch, Unreadable
from dataloader.splits.split import Split
from models.backbone import Backbone
from models.classifier_input import classifier_inputs
from utils.progress_bar import progress_bar


def predict_split(trained: Trained, split: Split, task: LabelTask, machine: Machine) -> Prediction:
    """Return the predictions for every image of a split; on other processes than the first, for their own share alone."""
    meter = measure_split(trained, split, task, machine)
    assert isinstance(meter, LabelMeter)
    return meter.prediction


def measure_split(
    trained: Trained,
    split: Split,
    task: Task,
    machine: Machine,
    *,
    left_out: Callable[[Sequence[Unreadable]], object] | None = None,
    meter: Meter | None = None,
) -> Meter:
    """Return the meter of a split, with a progress bar on a terminal; that of the first process has counted the images of all.

    Args:
        trained: the model.
        split: the images.
        task: what they mean.
        machine: where it is computed.
        left_out: told which images could not be read, and are not counted; without it, such an image is an error.
        meter: what counts; None for that of the task.
    """
    tolerant = left_out is not None
    loader = assemble.build_loader(trained.config, split, trained.preprocess, machine, tolerant=tolerant)
    total = -(-len(split) // machine.world.size)
    with progress_bar(f"{split.name} images", total, shown=machine.world.is_first) as advance:
        try:
            return score(
                trained.model,
                task,
                loader.batches(0),
                images=len(split),
                device=machine.device,
                autocast=machine.autocast(),
                world=machine.world,
                advance=advance,
                left_out=left_out,
                meter=meter,
            )
        finally:
            loader.close()


def answer_images(trained: Trained, task: LabelTask, images: Tensor, machine: Machine) -> list[LabelAnswer]:
    """Return the answer for each image, uint8 (N, 3, H, W), of the size of the network; nothing is known of them."""
    with torch.inference_mode(), machine.autocast():
        return task.postprocess(task.forward(trained.model, Batch.unlabeled(images).to(machine.device)))


def read_by_classifier(model: nn.Module) -> AbstractContextManager[list[Tensor]]:
    """Give a list to which every pass inside the block adds what the classifier reads, (N, D) or a map.

    Raises:
        UserError: the network has no classifier that it could name, or the exported file does not tell.
    """
    if isinstance(model, ExportedNetwork):
        return model.features()
    assert isinstance(model, Backbone)
    return classifier_inputs(model)
