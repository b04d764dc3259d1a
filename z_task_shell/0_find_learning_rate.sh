#!/usr/bin/env bash
# Find a learning rate: train a few epochs at each of several rates and look where the loss falls fastest.
#
#   bash z_task_shell/0_find_learning_rate.sh [--data DIR] [more flags]
#
# --lr is the base; every stage of the steps schedule multiplies it by its ratio until its epoch. Read the
# answer in metrics.csv: take the rate of the steepest fall of train_loss, a few times below where it rises.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --data digits --image_size 32 32 --arch resnet18 \
    --opt sgd --lr 1e-4 --schedule steps --warmup 0 --epochs 10 \
    --lr_ratios 1 10 100 1000 10000 --lr_steps 2 4 6 8 10 "$@"
