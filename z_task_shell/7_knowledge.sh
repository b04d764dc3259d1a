#!/usr/bin/env bash
# Distillation: write down what a trained model (the teacher) says of the training images, then let a small one learn from it.
#
#   bash z_task_shell/7_knowledge.sh TEACHER_RUN [--data DIR] [more flags for the student]
#
# The files are distill.txt (a path and a probability for every class a line) and label.txt in the data folder. Several teachers
# make several files, and all distill*.txt count. docs/distill.md has more, such as a teacher who looks at every batch:
#   --teacher RUN --distill_loss 'dkd(beta=8)' --distill_features
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 0 ] || fail "usage: bash z_task_shell/7_knowledge.sh TEACHER_RUN [flags for the student]"
teacher=$1
shift
# The files are written where the training reads them.
where_of --data digits "$@"
python main.py --knowledge train --resume "$teacher" "${where[@]}"
python main.py --data digits --image_size 32 32 --arch mobilenetv3_small \
    --epochs 30 --batch_size 32 --lr 2e-3 --aug 'crop(0.15)' --mixup --ema --distill "$@"
