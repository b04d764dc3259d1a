#!/usr/bin/env bash
# Look for what is wrong with the images before training: broken files, pictures in two splits or under two labels, imbalance.
#
#   bash z_task_shell/0_check_data.sh [--data DIR] [more flags]
#
# Writes a page with pictures, runs/check/NAME/check.html; nothing is moved without --fix. Ends with 1 when there is an error.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --check --data digits "$@"
