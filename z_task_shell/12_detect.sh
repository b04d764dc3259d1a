#!/usr/bin/env bash
# A box and a class for every object, from nothing: generated scenes with boxes -> check -> training -> COCO's figures -> boxes of new
# images -> ONNX with the choice among boxes inside -> the same boxes by one file without this program. Offline, in two or three minutes on
# a laptop. docs/detect.md says how your own boxes are read.
#
#   bash z_task_shell/12_detect.sh [FLAGS OF THE TRAINING]
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

name=detect-$(date +%Y%m%d-%H%M%S)
run=runs/detect/$name

python main.py --check --task detect --data shapes --name "$name"
python main.py --task detect --data shapes --arch yolox_nano --image_size 64 64 --batch_size 32 --epochs 20 --lr 4e-3 \
    --aug flip --name "$name" "$@"
python main.py --evaluation --resume "$run"
python main.py --predict data/shapes/images/test/star --limit 12 --annotate --cut_out_boxes --resume "$run"
python main.py --export onnx --resume "$run"
python demos/detector.py "$run/model.onnx" data/shapes/images/test/ring --out "$run/demo" | tail -n 3
cat <<END
The run is in $run. Open
  $run/evaluation-test/report.html     what is missed, made up, named wrongly or framed loosely, and what each costs
  $run/predict/annotated               the boxes that it answers
  $run/model.onnx                      boxes for other programs; demos/detector.py shows how
Your own boxes:  python main.py --task detect --data FOLDER --arch yolox_s   (docs/detect.md)
END
