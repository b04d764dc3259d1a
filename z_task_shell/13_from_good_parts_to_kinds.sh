#!/usr/bin/env bash
# The way of a factory, on a generated cloth: good parts alone -> heat maps of new parts -> those as first masks -> a segmenter -> pieces cut
# out of what it finds -> a classifier of the kinds. Offline, in a few minutes on a laptop. docs/anomaly.md says what is done by hand where
# the parts are yours: masks are corrected, and pieces are sorted.
#
#   bash z_task_shell/13_from_good_parts_to_kinds.sh
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

name=way-$(date +%Y%m%d-%H%M%S)
way=runs/$name

# 1. Good parts alone.
python main.py --task anomaly --data weave --arch padim --encoder resnet18 --name "$name" "$@"

# 2. Heat maps and masks of new parts.
python main.py --predict data/weave/test/hole data/weave/test/stain data/weave/test/thread --resume "runs/anomaly/$name"

# 3. The masks, here as they are, beside their images; two classes.
mkdir -p "$way/parts/images" "$way/pieces"
cp data/weave/test/{hole,stain,thread}/*.png "$way/parts/images"
cp -r "runs/anomaly/$name/predict/masks" "$way/parts/masks"
printf 'id,name\n0,background\n1,defect\n' >"$way/parts/masks/labels.csv"
python main.py --check --task segment --data "$way/parts" --name "$name"
python main.py --task segment --data "$way/parts" --arch unet --encoder mobilenetv3_small --image_size 64 64 --batch_size 8 --epochs 20 \
    --lr 2e-3 --aug flip --name "$name"

# 4. What the segmenter finds, cut out and sorted; here the folder of a part knows the kind.
python main.py --predict "$way/parts/images" --resume "runs/segment/$name"
python demos/cut_pieces.py "runs/segment/$name/predict/regions.json" "$way/pieces"
for kind in hole stain thread; do
    mkdir -p "$way/kinds/$kind"
    for part in data/weave/test/"$kind"/*.png; do
        part=$(basename "$part" .png)
        for piece in "$way/pieces/$part"-*.png; do
            [ ! -f "$piece" ] || cp "$piece" "$way/kinds/$kind"
        done
    done
done
python main.py --data "$way/kinds" --arch mobilenetv3_small --image_size 64 64 --batch_size 8 --epochs 30 --lr 2e-3 --name "$name"
python main.py --evaluation --resume "runs/classify/$name"
cat <<END
Open
  runs/anomaly/$name/predict/heat               where good parts alone say that something is strange
  runs/segment/$name/predict/overlays           what the segmenter learned from those masks
  $way/kinds                                    the pieces by kind
  runs/classify/$name/evaluation-test/report.html   how well the kinds are told apart
END
