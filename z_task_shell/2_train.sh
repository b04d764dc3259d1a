#!/usr/bin/env bash
# Train on the CPU or on one GPU.
#
#   bash z_task_shell/2_train.sh [--data DIR] [more flags]
#
# DIR holds train/, val/ and test/ with one folder a class, or just one folder a class (it is split for you).
# The run folder is named at the end; go on after an interruption with  python main.py --resume RUN
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --data digits --image_size 32 32 --arch mobilenetv3_small \
    --epochs 30 --batch_size 32 --lr 2e-3 --aug 'crop(0.15)' --mixup --ema "$@"
