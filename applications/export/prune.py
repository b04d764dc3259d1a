"""Removes the channels that a network misses least and writes a smaller checkpoint."""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

import torch
from torch import Tensor

from applications import assemble
from applications.assemble import Machine
from applications.settings.options import Request, run_folder_parent
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained, load_trained, open_held_out, open_training
from applications.trained.inference import predict_split
from applications.trained.trained_task import build_label_task
from dataloader.batch.targets import to_dense
from dataloader.images.preprocess import Normalize
from dataloader.sample import Batch
from dataloader.splits.split import Split
from models import build_model
from models.backbone import Backbone
from models.slimming.layer_widths import LayerWidths, read_widths, set_widths
from models.slimming.prune import Losses, NetworkSize, largest_difference, prune_channels, taylor_importance
from optim.batchnorm_recalibration import recalibrate_norms
from optim.options import OptimOptions
from utils.checkpoint import BEST, load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.files import new_folder, write_text
from utils.logs import log
from utils.networks.summary import summarize, time_forward
from utils.randomness import Stream, numpy_rng
from utils.runtime import Precision
from utils.terminal_tables import print_table
from utils.text import counted
from utils.timing import Timing

# The rebuilt network computes the same numbers in the same order.
SAME = 1e-5
# Training images that the channels are scored on.
SCORED = 512
# A loss of this much of the headline figure is worth a warning.
LARGE_DROP = 0.05


def run(request: Request) -> int:
    """Prune the model of --resume; compare size, time and accuracy before and after; return the exit code."""
    share = float(request.subject)
    device = torch.device("cpu")
    machine = Machine(assemble.single_process(), device, Precision("fp32", False, "exact answers"))
    trained = load_trained(request.resume, request.given, request.action, device)
    model, image_size = trained.model, trained.config.data.image_size
    assert isinstance(model, Backbone)
    split = open_held_out(trained, ("val", "test"))
    task = build_label_task(trained, device)
    scored = some_of(open_training(trained, "--prune"), trained.config.runtime.seed)
    log().info(f"model     {trained.describe()}")
    log().info(f"scored    by the loss of {counted(len(scored), 'training image')} of {scored.root}")
    whole, batches = replace(trained, model=copy.deepcopy(model)), read_batches(trained, scored, machine)
    sizes = prune_channels(model, share, image_size=image_size, importance=taylor_importance(losses_of(trained, batches, task)))
    refresh_norms(trained, batches)
    plan = checked_plan(trained, model)
    before, after = (_figures(each, split, machine) for each in (whole, trained))

    folder = _write(trained, request.given.get("name"), plan)
    _print(before, after, sizes, time_forward([whole.model, model], image_size, device))
    log().info(f"measured  on {len(split)} {split.name} images of {split.display_path}, without fine-tuning")
    headline = f"{split.name} {task.headline} (%)"
    if before[headline] - after[headline] > 100 * LARGE_DROP:
        log().warning(
            f"{split.name} {task.headline} fell from {before[headline]:.1f} to {after[headline]:.1f}%: fine-tune it, remove less, "
            "or train with a stronger --sparsity first"
        )
    log().info(f"written   {folder / BEST}: --evaluation, --jit and --init_from take it")
    slower = f"{trained.config.optim.lr / 10:g}"
    log().info(f"next: fine-tune it with python main.py --config {quote(str(folder / 'config.json'))} --lr {slower}")
    return 0


def some_of(split: Split, seed: int) -> Split:
    """Return images to score the channels on, drawn at random, all classes among one another."""
    chosen = numpy_rng(Stream.PRUNE, seed).permutation(len(split))[:SCORED]
    return replace(split.subset(chosen.tolist()), stamps=split.stamps[:0])


def read_batches(trained: Trained, split: Split, machine: Machine) -> list[Batch]:
    """Return the images of a split as evaluation sees them."""
    loader = assemble.build_loader(trained.config, split, trained.preprocess, machine)
    try:
        return list(loader.batches(0))
    finally:
        loader.close()


def losses_of(trained: Trained, batches: Sequence[Batch], task: LabelTask) -> Losses:
    """Return a function that gives the cross entropy of the images, summed over each batch, as the model is now."""
    normalize = Normalize(trained.preprocess.mean, trained.preprocess.std)

    def losses() -> Iterator[Tensor]:
        for batch in batches:
            logits = trained.model(normalize(batch.images))
            yield task.criterion.plain(logits, to_dense(batch.targets, len(trained.classes))).sum()

    return losses


def refresh_norms(trained: Trained, batches: Sequence[Batch]) -> None:
    """Measure the statistics of batch norms anew: what they norm has changed with the channels that are gone."""
    normalize = Normalize(trained.preprocess.mean, trained.preprocess.std)
    # A rest of a few images would count as much as a whole batch.
    whole = [batch for batch in batches if len(batch) == len(batches[0]) > 1]
    if whole:
        recalibrate_norms(trained.model, whole, lambda batch: trained.model(normalize(batch.images)))


def checked_plan(trained: Trained, model: Backbone) -> LayerWidths:
    """Return the widths of a pruned network, by which it can be built again to compute the same.

    Raises:
        UserError: it cannot.
    """
    plan = read_widths(model)
    arch = trained.config.model.arch
    rebuilt = build_model(arch, num_classes=len(trained.classes), drop_rate=trained.config.model.drop_rate)
    set_widths(rebuilt, plan)
    try:
        rebuilt.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise UserError(f"--prune: {arch} has layers whose pruned widths a checkpoint cannot hold") from error
    if not largest_difference(model, rebuilt.eval(), trained.config.data.image_size) <= SAME:
        raise UserError(f"--prune: {arch} computes something else when it is built from its pruned widths")
    return plan


def _write(trained: Trained, name: str | None, plan: LayerWidths) -> Path:
    """Write the checkpoint, and the settings that fine-tune it, into a folder of their own."""
    content = load_checkpoint(trained.path)
    content |= {"state_dict": trained.model.state_dict(), "state_dict_ema": None, "averaging": None, "stepper": None, "channels": plan}
    # Fitted to the answers of the whole network; --calibrate does it again.
    content |= {"temperature": 1.0, "reject": None}
    usual = f"{trained.path.parent.name or trained.config.model.arch}-pruned"
    folder = new_folder(run_folder_parent(trained.config.output, trained.task), name or usual)
    save_checkpoint(folder / BEST, content)
    changes = {
        "resume": None,
        "pretrained": False,
        "advprop": False,
        "init_from": str(folder / BEST),
        "sparsity": False,
        "slim": OptimOptions().slim,
    }
    # What was frozen rested on channels that are gone: all of it has to learn.
    config = trained.config.override({**changes, "freeze": (), "name": None})
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
    if trained.split_file is not None:
        write_text(folder / "split.csv", trained.split_file.read_text(encoding="utf-8"))
    return folder


def _figures(trained: Trained, split: Split, machine: Machine) -> dict[str, float]:
    task = build_label_task(trained, machine.device)
    metrics = task.metrics(predict_split(trained, split, task, machine))
    return {
        "parameters (M)": summarize(trained.model, trained.config.data.image_size, machine.device).parameters / 1e6,
        f"{split.name} {task.headline} (%)": 100 * metrics[task.headline],
        f"{split.name} loss": metrics["loss"],
    }


def _print(before: dict[str, float], after: dict[str, float], sizes: tuple[NetworkSize, NetworkSize], times: list[Timing]) -> None:
    one, two = sizes
    rows = [["channels", f"{one.channels}", f"{two.channels}", f"{1 - two.channels / one.channels:.1%}"]]
    costs = one.multiply_adds / 1e6, two.multiply_adds / 1e6
    rows.append(["multiply-adds (M)", *(f"{cost:.3f}" for cost in costs), f"{1 - costs[1] / costs[0]:.1%}"])
    for name, value in before.items():
        removed = f"{1 - after[name] / value:.1%}" if name.startswith("parameters") else ""
        rows.append([name, f"{value:.3f}", f"{after[name]:.3f}", removed])
    rows.append(["time an image (ms)", *(f"{1e3 * each.median:.3f}" for each in times), ""])
    rows.append(["  half of the runs", *(f"{1e3 * each.low:.3f} to {1e3 * each.high:.3f}" for each in times), ""])
    print_table(["", "before", "after", "removed"], rows)
    doubt = next((each.doubt() for each in times if not each.is_steady), "")
    if doubt:
        log().info(f"times     say little: {doubt}")
