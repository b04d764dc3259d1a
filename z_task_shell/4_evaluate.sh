#!/usr/bin/env bash
# Measure a trained model on the test images: figures a class, confusion matrix, every prediction.
#
#   bash z_task_shell/4_evaluate.sh RUN_OR_CHECKPOINT [--data DIR] [--split val] [more flags]
#
# Everything else (model, classes, image size) is read from the checkpoint.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 0 ] || fail "usage: bash z_task_shell/4_evaluate.sh RUN_OR_CHECKPOINT [flags]"
python main.py --evaluation --resume "$@"
