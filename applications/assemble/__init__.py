"""The one wiring diagram: settings in, objects out. Builds what several applications share.

open_machine        processes, device, precision                                          machine.py, sizes.py
build_preprocess -> build_loader -> build_transforms: from files to batches               images.py
build_task          what a batch means and what a wrong answer costs, by the catalog      task.py
build_network    -> wrap_network: the starting weights, then compiled and distributed     network.py
build_stepper       optimizer, schedule, clipping, averages, penalties over the network   step.py
snapshot            all of it as plain types and tensors, from which it is built again    snapshot.py

`applications/training/recipe.py` calls them all; every other application calls those that it needs.
"""

from applications.assemble.images import build_loader, build_preprocess, build_transforms, read_augment, training_options
from applications.assemble.machine import Machine, alone, exact, open_machine
from applications.assemble.network import build_network, prepare_sync_bn, wrap_network
from applications.assemble.sizes import seen_sizes
from applications.assemble.snapshot import snapshot
from applications.assemble.step import build_run_schedule, build_stepper, check_watched, count_steps
from applications.assemble.task import activation_of, build_task, check_num_classes, choose_task, count_classes, refuse_unable

__all__ = [
    "Machine",
    "activation_of",
    "alone",
    "build_loader",
    "build_network",
    "build_preprocess",
    "build_run_schedule",
    "build_stepper",
    "build_task",
    "build_transforms",
    "check_num_classes",
    "check_watched",
    "choose_task",
    "count_classes",
    "count_steps",
    "exact",
    "open_machine",
    "prepare_sync_bn",
    "read_augment",
    "refuse_unable",
    "seen_sizes",
    "snapshot",
    "training_options",
    "wrap_network",
]
