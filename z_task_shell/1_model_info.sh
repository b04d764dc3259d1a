#!/usr/bin/env bash
# Print layers, parameters, multiply-adds, memory and forward time of a model.
#
#   bash z_task_shell/1_model_info.sh [--arch NAME] [--image_size H W] [--num_classes N]
#
# Names: python main.py --list models
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --info --arch resnet18 --image_size 224 224 --num_classes 6 "$@"
