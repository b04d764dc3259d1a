"""The task of a trained model, with what it chose on validation images."""

import torch
from torch import nn

from applications import assemble
from applications.contract import Task
from applications.tasks import TASKS
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained


def build_trained_task(trained: Trained, device: torch.device) -> Task:
    """Return the task of a trained model, with what it chose on validation images, such as temperature and thresholds."""
    task = assemble.build_task(trained.config.loss, trained.classes, trained.preprocess, device, kind=TASKS.resolve(trained.task))
    task.load_calibration({**trained.saved, **trained.calibration.to_plain()})
    if trained.exported is not None:
        # A file normalizes by itself.
        task.normalize = nn.Identity()
    return task


def build_label_task(trained: Trained, device: torch.device) -> LabelTask:
    """Return the same task for what works on labels alone; ABILITIES refuses that to other tasks where the model is read."""
    task = build_trained_task(trained, device)
    assert isinstance(task, LabelTask), f"ABILITIES lets --task {task.name} do what is written for labels"
    return task
