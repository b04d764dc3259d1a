"""What a checkpoint holds of a run: plain types and tensors."""

import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from applications.assemble.seen_images import Seen
from applications.contract import Task
from applications.settings.options import RunConfig
from dataloader.images.preprocess import Preprocess
from dataloader.splits.catalog import Catalog
from models.fake_quantization import input_ranges
from models.slimming.layer_widths import read_widths
from optim.stepper import Stepper


def checkpoint_content(
    config: RunConfig,
    task: Task,
    model: nn.Module,
    stepper: Stepper | None,
    teaching: Mapping[str, Any],
    catalog: Catalog,
    preprocess: Preprocess,
    data_fingerprint: str,
    seen: Seen,
    plan: Mapping[str, Any] | None,
) -> dict:
    """Return everything a checkpoint holds besides the progress: plain types and tensors.

    Without a stepper, what was fitted without steps.
    """
    averages = None if stepper is None else stepper.averages()
    return {
        "task": task.name,
        "arch": config.model.arch,
        "num_classes": len(catalog.classes),
        "classes": list(catalog.classes),
        "preprocess": preprocess.to_dict(),
        "criterion": config.loss.canonical(),
        "channels": read_widths(model),
        "state_dict": model.state_dict(),
        "input_ranges": input_ranges(model),
        "state_dict_ema": averages,
        "averaging": "EMA" if averages is not None else None,
        "stepper": None if stepper is None else stepper.state_dict(),
        "loss_state": task.criterion.state_dict(),
        "teaching": teaching,
        **task.calibration(),
        "reject": None,
        "config": config.to_dict(),
        "data_fingerprint": data_fingerprint,
        "trained_on": seen.to_dict(),
        "plan": plan,
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }
