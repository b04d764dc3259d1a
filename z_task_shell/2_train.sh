#!/usr/bin/env bash
# Train on the CPU or on one GPU.
#
#   bash z_task_shell/2_train.sh [--data DIR] [more flags]
#
# DIR holds train/, val/ and test/ with one folder a class, or just one folder a class (it is split for you).
# More flags may choose the loss (docs/losses.md) and the optimizer (docs/optimizers.md), for example:
#   --criterion bce --label_smoothing 0.1             yes or no for every class
#   --criterion 'softmax|ohm(0.7)|ghm'                hard samples; the same as --ohm_loss --hard_ratio 0.7 --ghm_loss
#   --class_weights effective                         rare classes count more (--logit_adjust: another way)
#   --weighted_loss --cost_matrix FILE                mistakes of unequal price (--write_matrix FILE makes a template)
#   --threshold_loss --threshold_matrix FILE          leave out what is sure enough
#   --opt sgd --lr 0.05 --schedule 'multistep(15,25)' other optimizers and schedules; --opt_args for their arguments
#   --clip_grad 1   --sam   --swa   --soup            steady, careful, averaged
#   --head_lr 1e-2 --layer_decay 0.75 --freeze 2      who learns how fast
#   --teacher RUN   --distill   --curriculum_learning learn from a larger model, in courses (7_knowledge.sh, 6_make_curriculum.sh)
#   --sparsity --slim 5e-2 --opt sgd --lr 0.1         a network to prune
# The run folder is named at the end; go on after an interruption with  python main.py --resume RUN
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

python main.py --data digits --image_size 32 32 --arch mobilenetv3_small \
    --epochs 30 --batch_size 32 --lr 2e-3 --aug 'crop(0.15)' --mixup --ema "$@"
