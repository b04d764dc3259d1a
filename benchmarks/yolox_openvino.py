"""YOLOX-nano in OpenVINO: the exported port beside the published ONNX file, its time and its AP.

python -m benchmarks.yolox_openvino yolox_nano.onnx [--data DIR [--names NAME ...]] [--images N] [--threads N]

time  of one image of 416 x 416, in turns: the published file; the port with the same inputs and outputs; the port as --export writes it,
      from uint8 pixels to decoded boxes and scores; the same with the choice among the boxes in the file
AP    of both on photographs with masks, in the layout of docs/segment.md, such as CamVid: the truth is the frame around every
      connected region of a class that COCO has, too. Both see the same pixels. It tells how far the two differ, not how good they are.

Exit code 1: the same graph takes more than 5% longer, or AP differs by more than 0.05 points.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from applications.formats.deployed import BoxCore, deploy_outputs
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import WriteSettings
from applications.formats.openvino import OpenVino
from applications.tasks.box_answers import Choice, answer_of, placed
from applications.tasks.box_meter import MEASURED, BoxRows
from benchmarks.yolox_parity import CLASSES, SIDE, padded
from dataloader.images.preprocess import Preprocess
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.boxes import Boxes
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import scaled
from models.detectors.build import build_detector
from models.detectors.detector import Detector
from models.weights import load_state
from utils.checkpoint import load_tensors
from utils.timing import CpuContention, measure_times

# Classes of COCO by the names that data sets of streets give them.
IN_COCO = {"pedestrian": 0, "person": 0, "bicycle": 1, "car": 2, "motorcycle": 3, "bus": 5, "truck": 7}
# Regions of fewer pixels are no objects, but crumbs of masks.
LEAST_PIXELS = 150
MOST_LONGER, MOST_APART = 0.05, 0.05
NUMBERS = Preprocess(image_size=(SIDE, SIDE), mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
CHOICE = Choice(MEASURED)


class Undecoded(nn.Module):
    """The port with the inputs and outputs of the published file, but for the order of the colors."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        output = self.net.predict(images)
        return torch.cat((output.raw, output.objectness.sigmoid()[..., None], output.classes.sigmoid()), dim=2)


def compiled(model: Any, threads: int) -> Any:
    """Return a model of OpenVINO for one image, in full precision."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    return openvino.Core().compile_model(model, "CPU", settings)


def same_graph(net: Detector, folder: Path, threads: int) -> Any:
    """Return the port with the published inputs and outputs, exported to ONNX and read by OpenVINO."""
    import openvino

    place = folder / "same.onnx"
    with torch.no_grad():
        torch.onnx.export(
            Undecoded(net).eval(), (torch.zeros(1, 3, SIDE, SIDE),), str(place), input_names=["images"], dynamo=True, verbose=False
        )
    return compiled(openvino.Core().read_model(str(place)), threads)


def exported(net: Detector, folder: Path, threads: int, *, choosing: bool) -> Any:
    """Return the port as --export openvino --no_dynamic_size writes it."""
    outputs = ("boxes", "scores", "classes") if choosing else ("boxes", "scores")
    boxes = BoxFacts(0.25, CHOICE.overlap, CHOICE.most, False)
    facts = Facts(
        "yolox_nano", "detect", tuple(map(str, range(CLASSES))), NUMBERS, "none", any_size=False, outputs=outputs, boxes=boxes
    )  # fmt: skip
    deployed = deploy_outputs(BoxCore(net).eval(), NUMBERS, any_size=False)
    place = folder / f"model{len(outputs)}.xml"
    OpenVino().write(deployed, place, facts, WriteSettings())
    return OpenVino().open(place, threads=threads).run


def times(published: Any, net: Detector, folder: Path, image: np.ndarray, threads: int) -> bool:
    """Print the times of one image; return whether the same graph is as fast."""
    same, raw, choosing = (
        same_graph(net, folder, threads),
        exported(net, folder, threads, choosing=False),
        exported(net, folder, threads, choosing=True),
    )
    reversed_colors, pixels = np.ascontiguousarray(image[:, ::-1]), image.round().astype(np.uint8)
    calls: dict[str, Callable[[], object]] = {
        "published file": lambda: published(reversed_colors),
        "port, the same inputs and outputs": lambda: same(image),
        "port, pixels to boxes and scores": lambda: raw(pixels),
        "port, with the choice among boxes": lambda: choosing(pixels),
    }
    contention = CpuContention()
    found = dict(zip(calls, measure_times(list(calls.values()), seconds=3.0), strict=True))
    base = found["published file"].median
    for name, timing in found.items():
        print(f"{name:36} {1e3 * timing.median:6.2f} ms  {timing.median / base:.3f}", flush=True)
    print(f"other programs took {contention.others():.0%} of the machine")
    return found["port, the same inputs and outputs"].median <= (1 + MOST_LONGER) * base


def decoded(said: np.ndarray) -> Tensor:
    """Return boxes in pixels of what the published file says, (A, 5 + C): written anew after YOLOX's own decoding."""
    places, sizes = [], []
    for stride in (8, 16, 32):
        side = SIDE // stride
        y, x = np.mgrid[:side, :side]
        places.append(np.stack([x, y], -1).reshape(-1, 2))
        sizes.append(np.full((side * side, 1), stride))
    grid, strides = np.concatenate(places), np.concatenate(sizes)
    middle, size = (said[:, :2] + grid) * strides, np.exp(said[:, 2:4]) * strides
    return torch.from_numpy(np.concatenate([middle - size / 2, middle + size / 2, said[:, 4:]], 1).astype(np.float32))


def framed(mask: np.ndarray, classes: tuple[str, ...]) -> Boxes:
    """Return the frames around the connected regions of classes that COCO has."""
    import cv2

    corners, labels = [], []
    for number, name in enumerate(classes):
        if name.lower() not in IN_COCO:
            continue
        count, _, stats, _ = cv2.connectedComponentsWithStats((mask == number).astype(np.uint8), connectivity=8)
        for left, top, width, height, pixels in stats[1:count].tolist():
            if pixels >= LEAST_PIXELS:
                corners.append([left, top, left + width, top + height])
                labels.append(IN_COCO[name.lower()])
    own = np.array(corners, np.float32).reshape(-1, 4)
    sides = own[:, 2:] - own[:, :2]
    found = len(own)
    height, width = mask.shape
    return Boxes(own, np.array(labels, np.int64), size=(height, width), crowd=np.zeros(found, bool), areas=sides.prod(1))


def ap(published: Any, net: Detector, data: Path, most: int, names: Sequence[str]) -> bool:
    """Print AP of both on test images, at most so many, with names for the classes where the data have none; return whether they agree."""
    catalog = open_catalog(str(data), target=Mask)
    split, names = catalog.splits["test"], tuple(names) or catalog.classes
    split = split.subset(range(0, len(split), max(1, -(-len(split) // most))))
    meters = [BoxRows(tuple(map(str, range(CLASSES))), CHOICE, split.target, NUMBERS) for _ in range(2)]
    for index in range(len(split)):
        mask = split.target(index)
        assert isinstance(mask, Mask)
        truth, (height, width) = framed(mask.ids, names), mask.ids.shape
        image = padded(Path(split.file(index)))
        factor = SIDE / max(height, width)
        back = scaled((height, width), (int(height * factor), int(width * factor))).undone((height, width))
        with torch.no_grad():
            said = [decoded(published(np.ascontiguousarray(image[:, ::-1]))[0][0]), net(torch.from_numpy(image))[0]]
        for meter, each in zip(meters, said, strict=True):
            meter.compare(index, placed(answer_of(each, CHOICE), back), truth)
    objects = len(meters[0].truths.classes)
    if not objects:
        raise SystemExit(f"{data} shows none of {', '.join(IN_COCO)}, by the names of its classes ({', '.join(names)})")
    theirs, ours = (meter.coco.summary for meter in meters)
    print(
        f"{len(split)} images, {objects} objects: AP {100 * theirs['AP']:.2f}% of the published file, {100 * ours['AP']:.2f}% of the port;"
    )
    print(f"AP50 {100 * theirs['AP50']:.2f}% and {100 * ours['AP50']:.2f}%")
    return 100 * abs(theirs["AP"] - ours["AP"]) <= MOST_APART


def main() -> int:
    """Print times and AP; return 1 where a goal is missed."""
    import openvino

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, help="photographs with masks; without them, times alone")
    parser.add_argument("--images", type=int, default=250, help="at most so many of the test images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--names", nargs="+", default=(), metavar="NAME", help="of the classes, in the order of their numbers in the masks")
    options = parser.parse_args()
    published = compiled(openvino.Core().read_model(str(options.file)), options.threads)
    net = build_detector("yolox_nano", num_classes=CLASSES).eval()
    print(load_state(net, load_tensors(options.file), source=options.file.name))
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, SIDE, SIDE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        reached = times(published, net, Path(folder), image, options.threads)
    if options.data:
        reached &= ap(published, net, options.data, options.images, options.names)
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
