#!/usr/bin/env bash
# Train with several processes: one a GPU, or several on the CPU.
#
#   bash z_task_shell/3_train_distributed.sh [--data DIR] [more flags]
#
# --batch_size counts the images of all processes together, so the result does not hang on their number.
# Several machines: run this on each, with --nodes 2 --rank 0 (then 1) --init_method tcp://FIRST_MACHINE:29500
# torchrun works as well: torchrun --nproc_per_node 4 main.py --data DIR
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

gpus=$(python -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" -gt 1 ]; then
    processes=(--gpus "$gpus" --sync_bn)
else
    processes=(--nproc 2)
fi
python main.py --data digits --image_size 32 32 --arch resnet18 --epochs 8 "${processes[@]}" "$@"
