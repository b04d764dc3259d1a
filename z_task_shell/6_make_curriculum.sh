#!/usr/bin/env bash
# Make a curriculum: weigh every training image by how sure a trained model is of its label, then train with these weights.
#
#   bash z_task_shell/6_make_curriculum.sh RUN [--data DIR] [more flags for the training]
#
# The file is curriculum.txt in the data folder: a path and a weight a line. Look at the pictures of every course, then edit
# it as you like: 0 leaves an image out, and an image without a line weighs 0 too. docs/curriculum.md has more, such as
#   --curriculum 'selfpaced(start=0.5)'               no file: the running loss of every image sets the pace
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 0 ] || fail "usage: bash z_task_shell/6_make_curriculum.sh RUN [flags for the training]"
run=$1
shift
# The file is written where the training reads it.
where_of --data digits "$@"
python main.py --make_curriculum train --resume "$run" "${where[@]}" \
    --curriculum_thresholds 0.7 0.5 0.3 0 --curriculum_weights 1 0.7 0.4 0.1
python main.py --data digits --image_size 32 32 --arch mobilenetv3_small \
    --epochs 30 --batch_size 32 --lr 2e-3 --aug 'crop(0.15)' --ema --curriculum_learning "$@"
