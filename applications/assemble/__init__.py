"""The one wiring diagram: settings in, objects out. Builds what several applications share.

open_machine        processes, device, precision                                          machine.py, image_sizes.py
build_preprocess -> build_loader -> build_transforms: from files to batches               batches.py
build_task          what a batch means and what a wrong answer costs, by the catalog      task.py
build_network    -> wrap_network: the starting weights, then compiled and distributed     network.py
set_auto_anchors    by the boxes of the training data, for a detector that begins with some  auto_anchors.py
measure_folded_norms  of a network whose weights came without batch norms                 unfolded_norms.py
build_stepper       optimizer, schedule, clipping, averages, penalties over the network   stepper.py
checkpoint_content  all of it as plain types and tensors, from which it is built again    checkpoint_content.py

`applications/training/training_parts.py` calls them all; every other application calls those that it needs.
"""

from applications.assemble.auto_anchors import set_auto_anchors
from applications.assemble.batches import build_loader, build_preprocess, build_transforms, plain_epochs, read_augment, training_options
from applications.assemble.checkpoint_content import checkpoint_content
from applications.assemble.image_sizes import seen_sizes
from applications.assemble.machine import Machine, exact_precision, open_machine, single_process, with_layout_of
from applications.assemble.network import build_network, prepare_sync_bn, wrap_network
from applications.assemble.stepper import build_run_schedule, build_stepper, check_watched, count_steps
from applications.assemble.task import (
    activation_of,
    build_task,
    check_num_classes,
    choose_task,
    count_classes,
    refuse_unable,
    with_usual_settings,
)
from applications.assemble.unfolded_norms import measure_folded_norms

__all__ = [
    "Machine",
    "activation_of",
    "build_loader",
    "build_network",
    "build_preprocess",
    "build_run_schedule",
    "build_stepper",
    "build_task",
    "build_transforms",
    "check_num_classes",
    "check_watched",
    "checkpoint_content",
    "choose_task",
    "count_classes",
    "count_steps",
    "exact_precision",
    "measure_folded_norms",
    "open_machine",
    "plain_epochs",
    "prepare_sync_bn",
    "read_augment",
    "refuse_unable",
    "seen_sizes",
    "set_auto_anchors",
    "single_process",
    "training_options",
    "with_layout_of",
    "with_usual_settings",
    "wrap_network",
]
