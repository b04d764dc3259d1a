#!/usr/bin/env bash
# Make images smaller once, split and measure them; then pack them into tar shards.
#
#   bash z_task_shell/9_prepare_data.sh OUT [--data DIR] [more flags]
#
# OUT becomes the new folder, and OUT-shards the shards; neither may hold anything else. Repeat the call to go on after an
# interruption. More flags, for example:
#   --smaller_side 256 --center_crop                  the size of the images
#   --val_share 0.1 --test_share 0.2 --seed 1         the split of a single folder
#   --group_by '([^/]+)_\d+\.'                        shots of one object stay in one split
#   --shard_size 1000                                 megabytes a shard
# Then train:  python main.py --data OUT --mean_std OUT/mean_std.json
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"
[ $# -gt 0 ] || fail "name the new folder: bash z_task_shell/9_prepare_data.sh OUT [--data DIR]"
out=$1
shift

python main.py --prepare "$out" --data digits --smaller_side 32 "$@"
python main.py --shard "$out-shards" --data "$out"
