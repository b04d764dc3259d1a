"""The images that quantization learns from: training images for the ranges of values, validation images for what is lost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from applications import assemble
from applications.assemble import Machine
from applications.export.parity import with_probabilities
from applications.formats.int8 import Calibration
from applications.settings.options import ExportOptions
from applications.tasks.label_prediction import Prediction
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained, open_training, open_validation
from applications.trained.inference import predict_split
from dataloader.images.preprocess import Preprocess, fit_pixels
from dataloader.splits.split import Split
from utils.runtime import Precision

# Validation images by which layers are chosen.
MOST_HELD_OUT = 512


def calibration_of(trained: Trained, task: LabelTask, split: Split, expected: Prediction, options: ExportOptions) -> Calibration:
    """Return the images, and how accuracy on them is measured.

    Args:
        trained: the model.
        task: what its answers mean.
        split: the images of the comparison; where they are of validation, they serve here, too.
        expected: the model's answers for them.
        options: how many training images, and what may be lost.

    Raises:
        UserError: there are no training images, or none of validation.
    """
    training = _spread(open_training(trained, "--int8"), options.int8_images)
    if split.name != "val":
        split = _spread(open_validation(trained, "--int8"), MOST_HELD_OUT)
        machine = Machine(assemble.single_process(), torch.device("cpu"), Precision("fp32", False, "as exported files"))
        with machine.fp32_autocast():
            expected = predict_split(trained, split, task, machine)

    def figure(positions: Sequence[int], probabilities: np.ndarray) -> float:
        rows = torch.tensor(list(positions))
        parts = {name: getattr(expected, name)[rows] for name in ("indices", "targets", "losses", "logits")}
        told = with_probabilities(replace(expected, **parts), torch.from_numpy(probabilities))
        return float(task.metrics(told)[task.headline])

    return Calibration(_fitted(training, trained.preprocess), _fitted(split, trained.preprocess), figure, options.max_drop)


def _spread(split: Split, most: int) -> Split:
    """Return at most `most` images, evenly over the split, whose classes may follow one another."""
    return split.subset(np.unique(np.linspace(0, len(split) - 1, min(most, len(split))).round().astype(int)).tolist())


def _fitted(split: Split, numbers: Preprocess) -> list[np.ndarray]:
    """Return the images at the network's own size, uint8 (1, 3, height, width) each."""
    images = (fit_pixels(split.read(index), *numbers.image_size, numbers.resize) for index in range(len(split)))
    return [np.ascontiguousarray(image.transpose(2, 0, 1))[None] for image in images]
