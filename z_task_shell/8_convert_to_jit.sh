#!/usr/bin/env bash
# Convert a trained model to TorchScript, compare its answers with the model's, and try the demo on it.
#
#   bash z_task_shell/8_convert_to_jit.sh RUN_FOLDER IMAGE_OR_FOLDER...
#
# The file holds geometry, normalization and class names; it takes uint8 RGB images of any size.
# Copy it and demos/classifier.py to the device: they need torch, numpy and Pillow or OpenCV there.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 1 ] || fail "usage: bash z_task_shell/8_convert_to_jit.sh RUN_FOLDER IMAGE_OR_FOLDER..."
run=$1
shift
python main.py --jit --resume "$run"
python demos/classifier.py "$run/model.jit.pt" "$@"
