#!/usr/bin/env bash
# Defects, learned from good parts alone: a generated cloth -> check -> fit -> figures and a page -> heat maps, masks and boxes -> ONNX.
# Offline, in a minute or two on a laptop. docs/anomaly.md says how your own parts are read.
#
#   bash z_task_shell/11_find_anomalies.sh [FLAGS OF THE FIT]
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

name=anomaly-$(date +%Y%m%d-%H%M%S)
run=runs/anomaly/$name

python main.py --check --task anomaly --data weave --name "$name"
# Without the network no published weights can be had; for your own parts add --pretrained.
python main.py --task anomaly --data weave --arch padim --encoder resnet18 --name "$name" "$@"
python main.py --evaluation --resume "$run" --target 'false_alarm<=0.2'
python main.py --predict data/weave/test/hole --limit 12 --resume "$run"
python main.py --export onnx --resume "$run"
cat <<END
The run is in $run. Open
  $run/evaluation-test/report.html     what is missed, what alarms for nothing, and the heat maps
  $run/predict/heat                    where the defects of new images are
  $run/model.onnx                      scores and maps for other programs
Your own parts:  python main.py --task anomaly --data FOLDER --arch padim --encoder torchvision/mobilenet_v2 --pretrained   (docs/anomaly.md)
END
