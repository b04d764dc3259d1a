"""The images that quantization learns from: training images for the ranges of values, validation images for what is lost."""

from collections.abc import Sequence

import numpy as np

from applications.assemble import Machine
from applications.export.reference import Reference, is_readable, read_reference, spread
from applications.formats.facts import Facts
from applications.formats.int8 import QuantizationData
from applications.settings.options import ExportOptions
from applications.trained.checkpoint import Trained, open_training, open_validation
from dataloader.images.preprocess import Preprocess, fit_pixels
from dataloader.splits.split import Split


def quantization_data(trained: Trained, reference: Reference, facts: Facts, options: ExportOptions, machine: Machine) -> QuantizationData:
    """Return the images, and how much of the headline figure on them is lost.

    Args:
        trained: the model.
        reference: of the comparison; where its images are of validation, they serve here, too.
        facts: what the file says of itself.
        options: how many training images, and what may be lost.
        machine: where the model answers.

    Raises:
        UserError: there are no training images, or none of validation.
    """
    training = open_training(trained, "--int8")
    training = training.subset(spread(len(training), options.int8_images))
    if reference.split.name != "val":
        reference, _ = read_reference(trained, reference.task, open_validation(trained, "--int8"), type(reference), machine)

    def figure(positions: Sequence[int], answers: np.ndarray) -> float:
        return reference.figures(zip(positions, answers, strict=True), facts).value

    return QuantizationData(
        images=_fitted(training, trained.preprocess),
        held_out=_fitted(reference.split, trained.preprocess),
        joined=lambda outputs: reference.joined(outputs, facts),
        figure=figure,
        distance=lambda answer, expected: reference.distance(answer, expected, facts),
        max_drop=options.max_drop,
        part=reference.quantized,
    )


def _fitted(split: Split, numbers: Preprocess) -> list[np.ndarray]:
    """Return the images at the network's own size, uint8 (1, 3, height, width) each."""
    readable = (index for index in range(len(split)) if is_readable(split, index))
    images = (fit_pixels(split.read(index), *numbers.image_size, numbers.resize) for index in readable)
    return [np.ascontiguousarray(image.transpose(2, 0, 1))[None] for image in images]
