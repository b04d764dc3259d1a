"""Is the port of YOLOX-nano the published network: its answers beside those of the published ONNX file, and the time of both.

python -m benchmarks.yolox_parity yolox_nano.onnx [IMAGE ...]

The published file sees blue, green and red from 0 to 255, fitted to the upper left of a square of 416 pixels whose rest is gray (114).
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.detectors.build import build_detector
from models.detectors.detector import Detector
from models.detectors.folded_batchnorm import measure_folded
from models.weights import load_state
from utils.checkpoint import load_tensors

SIDE, GRAY, CLASSES = 416, 114, 80
RANDOM, ROUNDS = 3, 15
TOLERANCE = 1e-4


def padded(path: Path) -> np.ndarray:
    """Return an image as the published network is shown it, but in RGB: float32 (1, 3, 416, 416)."""
    image = Image.open(path).convert("RGB")
    factor = SIDE / max(image.size)
    small = image.resize((max(1, int(image.width * factor)), max(1, int(image.height * factor))), Image.Resampling.BILINEAR)
    canvas = np.full((SIDE, SIDE, 3), GRAY, np.float32)
    canvas[: small.height, : small.width] = np.asarray(small)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])


def inputs(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Return random images and those of the files, with names."""
    for seed in range(RANDOM):
        yield f"random {seed}", np.random.default_rng(seed).uniform(0, 255, (1, 3, SIDE, SIDE)).astype(np.float32)
    for file in files:
        yield file.name, padded(file)


def said(net: Detector, image: np.ndarray) -> np.ndarray:
    """Return what the file says: offsets that are not decoded, objectness and probabilities."""
    with torch.no_grad():
        output = net.predict(torch.from_numpy(image))
    return torch.cat((output.raw, output.objectness.sigmoid()[..., None], output.classes.sigmoid()), dim=2).numpy()


def milliseconds(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Return the median time of two calls, by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for call, found in zip((first, second), times, strict=True):
            start = time.perf_counter()
            call()
            found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def main(arguments: list[str]) -> int:
    """Print the differences and the times; return 1 where a difference is too large."""
    import onnxruntime

    file, images = Path(arguments[0]), [Path(each) for each in arguments[1:]]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    net = build_detector("yolox_nano", num_classes=CLASSES).eval()
    print(load_state(net, load_tensors(file), source=file.name))
    worst, shown = 0.0, list(inputs(images))
    for measured in (False, True):
        if measured:
            measure_folded(net, [torch.from_numpy(image) for _, image in shown])
        for name, image in shown:
            published = session.run(None, {"images": np.ascontiguousarray(image[:, ::-1])})[0]
            difference = float(np.abs(said(net, image) - published).max())
            worst = max(worst, difference)
            print(f"{name:24} largest difference {difference:.1e}{'  norms measured again' if measured else ''}")
    image = shown[-1][1]
    with torch.no_grad():
        ours, theirs = milliseconds(lambda: net(torch.from_numpy(image)), lambda: session.run(None, {"images": image}))
    print(f"one image: torch {ours:.1f} ms, the published file in ONNX Runtime {theirs:.1f} ms")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
