#!/usr/bin/env bash
# A class for every pixel, from nothing: generated scenes with masks -> check -> training -> figures at the size of the images -> masks of
# new images. Offline, in a few minutes on a laptop. docs/segment.md says how your own masks are read.
#
#   bash z_task_shell/10_segment.sh [FLAGS OF THE TRAINING]
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

name=segment-$(date +%Y%m%d-%H%M%S)
run=runs/segment/$name

python main.py --check --task segment --data shapes --name "$name"
python main.py --task segment --data shapes --arch unet --encoder mobilenetv3_small --image_size 64 64 --batch_size 32 --epochs 6 \
    --epoch_size 720 --lr 2e-3 --aug flip --name "$name" "$@"
python main.py --evaluation --resume "$run"
python main.py --predict data/shapes/images/test/star --limit 12 --resume "$run"
cat <<END
The run is in $run. Open
  $run/evaluation-test/report.html     which classes and images are wrong, and where
  $run/predict/overlays                the masks that it answers, over the images
Your own masks:  python main.py --task segment --data FOLDER --arch unet   (docs/segment.md)
END
