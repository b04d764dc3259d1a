"""Writes a TorchScript file, loads it again, and compares its answers with the trained model's."""

import io
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import torch

from applications import assemble
from applications.assemble import Machine
from applications.export.torchscript import deploy, facts
from applications.settings.options import Request
from applications.tasks.labels import decide
from applications.trained.checkpoint import build_trained_task, load_trained, open_held_out
from applications.trained.exported import EXTRA_FILE
from applications.trained.inference import predict_split
from dataloader.splits.catalog import Split
from utils.errors import UserError
from utils.files import write_atomically
from utils.logs import log
from utils.runtime import Precision

TOLERANCE = 1e-4
ROUNDING = 1e-5
MOST_IMAGES = 512


def run(request: Request) -> int:
    """Convert the model of --resume; return 1 when the file answers otherwise than the model."""
    device = torch.device("cpu")
    machine = Machine(assemble.single_process(), device, Precision("fp32", False, "exported files answer in fp32"))
    trained = load_trained(request, device)
    split = thin_out(open_held_out(trained, ("val", "test")), MOST_IMAGES)
    log().info(f"model     {trained.describe()}")
    log().info(f"compare   on {len(split)} {split.name} images of {split.named}")
    task = build_trained_task(trained, device)
    target = trained.path.parent / "model.jit.pt"
    problems: list[str] = []

    def write(temporary: Path) -> None:
        module = deploy(trained, task.criterion)
        # Through memory: torch's own file writer ends the whole process when the disk is full.
        content = io.BytesIO()
        torch.jit.save(module, content, _extra_files={EXTRA_FILE: facts(trained, task.criterion)})
        temporary.write_bytes(content.getbuffer())
        answers = answers_of_file(temporary, split)
        expected = predict_split(trained, split, task, machine).probabilities
        difference = float((answers - expected).abs().max())
        agreeing = count_agreeing(answers, expected, trained.thresholds)
        log().info(f"parity    {agreeing} of {len(split)} labels agree, largest probability difference {difference:.1e}")
        if agreeing < len(split) or not difference <= TOLERANCE:
            problems.append(f"the file answers otherwise than the model (allowed: {TOLERANCE:.0e}); {target} was not written")
            raise _RejectedError

    try:
        write_atomically(target, write)
    except _RejectedError:
        log().error(problems[0])
        return 1
    log().info(f"written   {target} ({target.stat().st_size / 1e6:.1f} MB)")
    log().info(f"next: python demos/classifier.py {quote(str(target))} IMAGE_OR_FOLDER")
    return 0


class _RejectedError(Exception):
    """The converted file failed the comparison."""


def answers_of_file(path: Path, split: Split) -> torch.Tensor:
    """Return the probabilities (N, C) that the saved file gives for the image files themselves, one by one."""
    module = torch.jit.load(str(path))
    answers = []
    with torch.inference_mode():
        for index in range(len(split)):
            image = torch.from_numpy(split.read(index))
            answers.append(module(image.permute(2, 0, 1)[None]))
    return torch.cat(answers)


def count_agreeing(answers: torch.Tensor, expected: torch.Tensor, thresholds: Sequence[float] | None) -> int:
    """Return how many rows of two (N, C) probabilities name the same labels.

    Where every label has a threshold, one whose probability lies on it up to rounding agrees either way.
    """
    same = decide(answers, thresholds) == decide(expected, thresholds)
    if thresholds is not None:
        same |= (answers - expected).abs() <= ROUNDING
    return int(same.all(1).sum())


def thin_out(split: Split, most: int) -> Split:
    """Return at most `most` images, spread evenly over the split."""
    if len(split) == 0:
        raise UserError(f"{split.named}: the {split.name} split is empty; there is nothing to compare on")
    step = max(1, -(-len(split) // most))
    return split.chosen(range(0, len(split), step))
