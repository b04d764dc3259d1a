#!/usr/bin/env bash
# Draw what a trained model looked at: heat maps over test images, wrong and right answers apart.
#
#   bash z_task_shell/5_visualize.sh RUN_OR_CHECKPOINT [--visual_method all] [--limit 100] [more flags]
#
# It names a folder with index.html, a page to open, and a picture an image. With --visual_method all it also measures which
# kind of map can be believed for this model.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 0 ] || fail "usage: bash z_task_shell/5_visualize.sh RUN_OR_CHECKPOINT [flags]"
python main.py --visual_data test --resume "$@"
