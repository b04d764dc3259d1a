"""Removes the channels with the smallest batch-norm scales and writes a smaller checkpoint."""

import json
from pathlib import Path
from shlex import quote

import torch

from applications import assemble
from applications.assemble import Machine
from applications.evaluate import predict_split
from applications.options import Request, run_folder_parent
from applications.trained import Trained, build_trained_task, load_trained, open_held_out
from dataloader.catalog import Split
from models import build_model
from models.backbone import Backbone
from models.narrow import Plan, apply_plan, channel_plan
from models.prune import largest_difference, prune_channels
from optim.options import OptimOptions
from utils.checkpoint import BEST, load_checkpoint, save_checkpoint
from utils.errors import UserError
from utils.files import new_folder, write_text
from utils.logs import console, log
from utils.runtime import Precision
from utils.summary import summarize

# The rebuilt network computes the same numbers in the same order.
SAME = 1e-5


def run(request: Request) -> int:
    """Prune the model of --resume; compare size, time and accuracy before and after; return the exit code."""
    share = float(request.subject)
    device = torch.device("cpu")
    machine = Machine(assemble.alone(), device, Precision("fp32", False, "exact answers"))
    trained = load_trained(request, device)
    model, size = trained.model, trained.config.data.image_size
    assert isinstance(model, Backbone)
    split = open_held_out(trained, ("val", "test"))
    log().info(f"model     {trained.describe()}")
    before = _figures(trained, split, machine)
    prune_channels(model, share, image_size=size)
    after = _figures(trained, split, machine)

    folder = _write(trained, request.given.get("name"), checked_plan(trained, model))
    _print(before, after, split)
    log().info(f"written   {folder / BEST}: --evaluation, --jit and --init_from take it")
    slower = f"{trained.config.optim.lr / 10:g}"
    log().info(f"next: fine-tune it with python main.py --config {quote(str(folder / 'config.json'))} --lr {slower}")
    return 0


def checked_plan(trained: Trained, model: Backbone) -> Plan:
    """Return the widths of a pruned network, by which it can be built again to compute the same.

    Raises:
        UserError: it cannot.
    """
    plan = channel_plan(model)
    arch = trained.config.model.arch
    rebuilt = build_model(arch, num_classes=len(trained.classes), drop_rate=trained.config.model.drop_rate)
    apply_plan(rebuilt, plan)
    try:
        rebuilt.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise UserError(f"--prune: {arch} has layers whose pruned widths a checkpoint cannot hold") from error
    if not largest_difference(model, rebuilt.eval(), trained.config.data.image_size) <= SAME:
        raise UserError(f"--prune: {arch} computes something else when it is built from its pruned widths")
    return plan


def _write(trained: Trained, name: str | None, plan: Plan) -> Path:
    """Write the checkpoint, and the settings that fine-tune it, into a folder of their own."""
    content = load_checkpoint(trained.path)
    content |= {"state_dict": trained.model.state_dict(), "state_dict_ema": None, "averaging": None, "stepper": None, "channels": plan}
    # Fitted to the answers of the whole network; --calibrate does it again.
    content |= {"temperature": 1.0, "reject": None}
    usual = f"{trained.path.parent.name or trained.config.model.arch}-pruned"
    folder = new_folder(run_folder_parent(trained.config, trained.task), name or usual)
    save_checkpoint(folder / BEST, content)
    changes = {"resume": None, "pretrained": False, "init_from": str(folder / BEST), "sparsity": False, "slim": OptimOptions().slim}
    config = trained.config.override({**changes, "name": None})
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")
    if trained.split_file is not None:
        write_text(folder / "split.csv", trained.split_file.read_text(encoding="utf-8"))
    return folder


def _figures(trained: Trained, split: Split, machine: Machine) -> dict[str, float]:
    task = build_trained_task(trained, machine.device)
    summary = summarize(trained.model, trained.config.data.image_size, machine.device)
    metrics = task.metrics(predict_split(trained, split, task, machine))
    return {
        "parameters (M)": summary.parameters / 1e6,
        "multiply-adds (M)": summary.multiply_adds / 1e6,
        "time an image (ms)": summary.forward_seconds * 1e3,
        f"{split.name} {task.headline} (%)": 100 * metrics[task.headline],
        f"{split.name} loss": metrics["loss"],
    }


def _print(before: dict[str, float], after: dict[str, float], split: Split) -> None:
    from rich.table import Table

    table = Table("", box=None, pad_edge=False)
    for name in ("before", "after"):
        table.add_column(name, justify="right")
    for name, value in before.items():
        table.add_row(name, f"{value:.3f}", f"{after[name]:.3f}")
    console().print(table)
    log().info(f"measured  on {len(split)} {split.name} images of {split.named}, without fine-tuning")
