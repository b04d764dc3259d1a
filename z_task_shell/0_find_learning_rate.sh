#!/usr/bin/env bash
# Find a learning rate: raise it a little every step, on a throw-away model, and look where the loss falls fastest.
#
#   bash z_task_shell/0_find_learning_rate.sh [--data DIR] [more flags]
#
# It is over in a hundred steps, prints a rate to start with and names the curve (find_lr.png, find_lr.csv).
#
# The slow way, a few epochs at each rate, works too; read metrics.csv and take the rate of the steepest fall
# of train_loss, a few times below where it rises:
#   python main.py --lr 1e-4 --schedule steps --warmup 0 --epochs 10 \
#       --lr_ratios 1 10 100 1000 10000 --lr_steps 2 4 6 8 10
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --find_lr --data digits --image_size 32 32 --arch resnet18 --opt sgd "$@"
