"""Detectors as teachers (--teacher): read back, and refused where they cannot answer for the student."""

from collections.abc import Callable

import torch

from applications.assemble import Machine, with_layout_of
from applications.objectives.box_distillation import BoxTeacher
from applications.settings.options import RunConfig
from applications.trained.checkpoint import Trained
from applications.trained.exported import is_exported
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.images.sixteen_bit import FULL
from dataloader.sidecars.format import check_classes
from dataloader.splits.catalog import Catalog
from models.detectors.detector import Detector, DetectorOutput
from models.memory_layout import lay_out
from models.modules import evaluating
from utils.errors import UserError
from utils.logs import log
from utils.networks.first_conv import input_channels


def box_teacher(
    place: str, load: Callable[[], Trained], config: RunConfig, student: Detector, catalog: Catalog, machine: Machine
) -> BoxTeacher:
    """Return the detector in a run folder or a checkpoint, which `load` reads.

    Raises:
        UserError: there is none, it knows other classes or has them in another order, or it answers at other places than the student.
    """
    if is_exported(place):
        raise UserError(f"--teacher {place}: an exported detector does not say what it sees at every place; give its run folder")
    trained = load()
    if not isinstance(trained.model, Detector):
        raise UserError(f"--teacher {place} is a network of --task {trained.task}; take a detector")
    check_classes(trained.classes, catalog.classes, source=f"--teacher {place}")
    check_pixels(place, trained.preprocess, catalog, config.model.channels)
    size = config.data.image_size
    trained.model.check_size(size)
    ours, theirs = (_places(each, size, machine.device) for each in (student, trained.model))
    if ours.anchors is not None or theirs.anchors is not None or ours.points.shape != theirs.points.shape:
        raise UserError(
            f"--teacher {place} ({trained.config.model.arch}) and --arch {config.model.arch} must both answer without anchors, at strides "
            "8, 16 and 32; take two of yolox_nano to yolox_x, or yolox"
        )
    log().info(f"teacher   {trained.describe()}")
    precision = with_layout_of(trained.config.model.pretrained_name(), machine.precision, machine.device)
    lay_out(trained.model, precision.memory_format)
    return BoxTeacher(trained.model, Normalize(trained.preprocess.mean, trained.preprocess.std).to(machine.device))


def _places(model: Detector, size: tuple[int, int], device: torch.device) -> DetectorOutput:
    """Return what a detector says of a black image."""
    with evaluating(model), torch.no_grad():
        return model.predict(torch.zeros(1, input_channels(model), *size, device=device))


def check_pixels(place: str, preprocess: Preprocess, catalog: Catalog, channels: int) -> None:
    """Raise UserError where the teacher would see other channels, or 16-bit files in another range, than it was trained on."""
    if preprocess.bands != max(3, channels):
        raise UserError(
            f"--teacher {place} reads {preprocess.bands} channels of a file, this run {max(3, channels)}; write its answers with "
            "--knowledge, and learn from them with --distill"
        )
    white = catalog.splits["train"].white
    theirs = FULL if preprocess.white is None else preprocess.white
    if white is not None and white != theirs:
        raise UserError(
            f"--teacher {place} takes {theirs:,} as white in 16-bit images, this run {white:,}; write its answers with --knowledge, "
            "and learn from them with --distill"
        )
