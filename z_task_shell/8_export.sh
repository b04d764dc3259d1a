#!/usr/bin/env bash
# Export a trained model, compare its answers with the model's, measure the files on the test images, and try the demo on them.
#
#   bash z_task_shell/8_export.sh RUN_FOLDER FORMATS IMAGE_OR_FOLDER...
#
# FORMATS is torchscript, onnx or openvino, or several with commas. A file holds geometry, normalization and class names; it takes
# uint8 RGB images of any size. Copy it and its demo (classifier.py, segmenter.py or detector.py of demos/) to the device: they need
# numpy, Pillow, and the runtime there. docs/deploy.md says which format is for which device.
source "$(dirname "${BASH_SOURCE[0]}")/_environment.sh"

[ $# -gt 2 ] || fail "usage: bash z_task_shell/8_export.sh RUN_FOLDER FORMATS IMAGE_OR_FOLDER..."
run=$1 formats=$2
shift 2
said=$(mktemp)
trap 'rm -f "$said"' EXIT
write_files() {
  python main.py --export "$formats" --resume "$run"
}
write_files | tee "$said"
# Its last lines name the demo of the task, where there is one.
demo=$(sed -n 's|^next: python \(demos/[a-z_]*\.py\) .*|\1|p' "$said" | head -n 1)
[ -n "$demo" ] || echo "no demo opens these files: look at images with python main.py --predict IMAGE_OR_FOLDER --resume FILE"
for format in ${formats//,/ }; do
  case $format in
    torchscript) file=$run/model.jit.pt ;;
    onnx) file=$run/model.onnx ;;
    openvino) file=$run/model.xml ;;
    *) continue ;; # Demos open the other three.
  esac
  python main.py --evaluation --no_report --resume "$file"
  [ -z "$demo" ] || python "$demo" "$file" "$@"
done
