#!/usr/bin/env bash
# From nothing to a working classifier in about two minutes on a laptop:
# real handwritten digits -> training -> test figures -> TorchScript -> demo.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

name=quickstart-$(date +%Y%m%d-%H%M%S)
run=runs/classify/$name

bold='' plain=''
[ -t 1 ] && bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

say "1/4 train resnet18 on the built-in digits"
python main.py --data digits --image_size 32 32 --arch resnet18 --epochs 12 --batch_size 32 --aug 'crop(0.15)' --ema --name "$name" "$@"

say "2/4 measure it on the test images"
python main.py --evaluation --resume "$run"

say "3/4 convert it to TorchScript"
python main.py --jit --resume "$run"

say "4/4 use it as a program on a device would"
images=()
for digit in 0 3 7; do
    images+=("$(find "data/digits/test/$digit" -name '*.png' | sort | head -n 1)")
done
python demos/classifier.py "$run/model.jit.pt" "${images[@]}" --top 2

say "done"
cat <<END
The run is in $run. Open
  $run/evaluation-test/report.html     where it is wrong, and whether to trust it
  $run/metrics.csv                     the curves, a row an epoch
  $run/model.jit.pt                    the file to deploy, with demos/classifier.py
Your own photographs:  python main.py --data FOLDER   (after: source .venv/bin/activate)
END
