"""The model that is exported, and its answers for the images of the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from applications import assemble
from applications.assemble import Machine
from applications.contract import Task
from applications.export import reference_kind
from applications.export.extra_outputs import expected_extras
from applications.export.other_size import chosen_of, read_taller
from applications.export.parity import Allowed
from applications.export.reference import Reference, read_reference
from applications.formats.deployed import Deployed
from applications.formats.format import Format
from applications.settings.options import ExportOptions, Request
from applications.trained.checkpoint import Trained, load_trained, open_held_out
from dataloader.images.preprocess import fit_images
from dataloader.splits.split import Split
from models.backbone import Backbone
from utils.checkpoint import BEST, find_checkpoint
from utils.errors import UserError
from utils.files import sha256_of
from utils.logs import log
from utils.runtime import Precision
from utils.timing import measure_times

# Splits in which the images of the comparison are looked for, where --split names none.
COMPARED_ON = ("val", "test")
SECONDS = 0.5


@dataclass(frozen=True)
class Source:
    """The model that is exported, and what it says of the images of the comparison.

    Attributes:
        trained: the model.
        reference: the images, and what answers to them mean.
        expected: the answers of the model, (N, ...).
        expected_taller: to some of the images at another size (`other_size.py`), (K, ...).
        options: what the user chose.
        sha256: of the checkpoint's file.
        milliseconds: for one image, by PyTorch.
    """

    trained: Trained
    reference: Reference
    expected: np.ndarray
    expected_taller: np.ndarray
    options: ExportOptions
    sha256: str
    milliseconds: float

    @property
    def task(self) -> Task:
        return self.reference.task

    @property
    def split(self) -> Split:
        return self.reference.split

    @property
    def precision(self) -> str:
        return precision_of(self.options)

    @property
    def allowed(self) -> Allowed:
        usual = self.reference.allowed[self.precision]
        if usual.drop is not None:
            usual = replace(usual, drop=self.options.max_drop)
        return usual if self.options.tolerance is None else replace(usual, difference=self.options.tolerance)

    def expected_extras(self) -> list[np.ndarray]:
        """Return what the model computes beside its answers, where a file is to answer that, too."""
        if not (self.options.with_features or self.options.with_cam):
            return []
        full = self.deployed(replace(self.options, half=False), any_size=True)
        return expected_extras(full, self.split, chosen_of(self.split))

    def deployed(self, options: ExportOptions, *, any_size: bool) -> Deployed:
        """Return the parts of the model as a file with these options is to hold them."""
        return self.reference.deploy(self.trained, self.task, options, any_size=any_size)


def precision_of(options: ExportOptions) -> str:
    """Return what a file computes in."""
    return "int8" if options.int8 else "half" if options.half else "fp32"


def comparing_machine() -> Machine:
    """Return the machine on which the model answers that exported files are compared with: the CPU, in fp32."""
    return Machine(assemble.single_process(), torch.device("cpu"), Precision("fp32", False, "exported files are compared in fp32"))


def read_source(request: Request, formats: Sequence[Format]) -> Source:
    """Read the model of --resume and let it answer.

    Raises:
        UserError: there is no such model, a format cannot hold it, it has no images to compare on, or its file changes meanwhile.
    """
    options, machine = request.config.export, comparing_machine()
    trained, sha256 = read_unchanged(request)
    kind = reference_kind(trained.task)
    check_held(trained, kind, options, formats)
    task = kind.build_task(trained, machine.device)
    held = open_held_out(trained, COMPARED_ON)
    log().info(f"model     {trained.describe()}")
    with machine.fp32_autocast():
        reference, expected = read_reference(trained, task, held, kind, machine)
        split, numbers = reference.split, trained.preprocess
        taller = (numbers.apply(read_taller(split, index))[None] for index in chosen_of(split))
        expected_taller = np.concatenate([kind.said(trained, task, image, machine) for image in taller])
        log().info(f"compare   on {len(split)} {split.name} images of {split.display_path}")
        milliseconds = time_model(kind.deploy(trained, task, ExportOptions(), any_size=True), split)
    return Source(trained, reference, expected, expected_taller, options, sha256, milliseconds)


def check_held(trained: Trained, kind: type[Reference], options: ExportOptions, formats: Sequence[Format]) -> None:
    """Raise UserError where the answers of the task cannot be held, or not as the user wants them."""
    precision = precision_of(options)
    if precision not in kind.allowed:
        raise UserError(f"--{precision}: files of --task {trained.task} are written in {' or '.join(kind.allowed)}; leave it out")
    if isinstance(trained.model, Backbone):
        return
    for flag in ("with_features", "with_cam"):
        if getattr(options, flag):
            raise UserError(f"--{flag} shows what a classifier reads, and --task {trained.task} has none; leave it out")
    if unable := [found.name for found in formats if not found.holds.masks]:
        raise UserError(f"the format {unable[0]} holds classifiers, not models of --task {trained.task}; take another")


def read_unchanged(request: Request) -> tuple[Trained, str]:
    """Return the model of --resume, on the CPU, and the SHA-256 of its file.

    Raises:
        UserError: there is no such model, or its file changes meanwhile.
    """
    path = find_checkpoint(request.resume, BEST)
    before = sha256_of(path)
    trained = load_trained(path, request.given, request.action, torch.device("cpu"))
    if sha256_of(path) != before:
        raise UserError(f"{path} changes while it is read; wait until the training is done, or export a copy")
    return trained, before


def time_model(deployed: Deployed, split: Split) -> float:
    """Return the median time that PyTorch takes for one image, in ms, from its pixels to the answer."""
    numbers = deployed.preprocess
    image = torch.from_numpy(split.read(0)).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        (timing,) = measure_times([lambda: deployed.answering(fit_images(image, *numbers.image_size, numbers.resize))], seconds=SECONDS)
    return 1e3 * timing.median
