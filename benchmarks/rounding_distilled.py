"""Whether learning with rounding (models/fake_quantization.py) gives back labels that 8 bits cost, where they cost many.

A mobilenet_v2 with ImageNet weights names one of 1,000 classes for photographs of any kind. A copy that rounds learns to answer them as the
network itself does, without any label. Both are written with all layers in 8 bits; what counts is for how many test photographs a file
names the class that the network names in full precision. Without rounding there would be nothing to learn.

Run from the root: python -m benchmarks.rounding_distilled --weights FILE --data DIR [--epochs N] [--size PIXELS]
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from applications.formats import build_format
from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import WriteSettings
from applications.formats.int8 import QuantizationData
from dataloader.images.preprocess import Normalize, Preprocess, fit_pixels
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.split import Split
from models import build_model
from models.fake_quantization import FakeQuantized, fake_quantize
from models.weights import load_state
from utils.checkpoint import load_tensors
from utils.terminal_tables import print_table

ARCH, FORMATS = "torchvision/mobilenet_v2", ("openvino", "onnx")
RATE, BATCH, CALIBRATION = 3e-5, 32, 150


def main() -> int:
    """Print the table; return 1 where rounding while learning keeps no more labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    numbers = Preprocess(image_size=(arguments.size, arguments.size))
    catalog = open_catalog(arguments.data)
    train, test = (pixels_of(catalog.splits[name], numbers) for name in ("train", "test"))
    network = build_model(ARCH, num_classes=1000)
    load_state(network, load_tensors(arguments.weights), source=str(arguments.weights))
    network.eval()
    expected = labels_of(network, test, numbers)
    learned = learn(network, train, numbers, arguments.epochs)
    rows, kept = [], []
    for name, each in (("as it is", network), ("learned with rounding", learned)):
        said = [np.mean(labels_of(each, test, numbers) == expected)]
        said += [np.mean(labels_of_file(each, kind, train, test, numbers) == expected) for kind in FORMATS]
        rows.append([name, *(f"{100 * share:.1f}%" for share in said)])
        kept.append(said)
    print(f"{len(test)} test photographs; the class that the network names in full precision is named by")
    print_table(("network", "full precision", *(f"{kind}, 8 bits" for kind in FORMATS)), rows)
    return 0 if sum(kept[1][1:]) > sum(kept[0][1:]) else 1


def pixels_of(split: Split, numbers: Preprocess) -> np.ndarray:
    """Return the images of a split, uint8 (N, 3, H, W)."""
    images = (fit_pixels(split.read(index), *numbers.image_size, numbers.resize) for index in range(len(split)))
    return np.stack([image.transpose(2, 0, 1) for image in images])


def labels_of(network: nn.Module, images: np.ndarray, numbers: Preprocess) -> np.ndarray:
    """Return the labels (N,) of images."""
    normalize = Normalize(numbers.mean, numbers.std)
    with torch.inference_mode():
        parts = torch.from_numpy(images).split(BATCH)
        return torch.cat([network(normalize(part)).argmax(1) for part in parts]).numpy()


def learn(network: nn.Module, images: np.ndarray, numbers: Preprocess, epochs: int) -> nn.Module:
    """Return a copy that has learned to answer with rounding as the network does; its batch norms keep their statistics."""
    student, normalize = copy.deepcopy(network), Normalize(numbers.mean, numbers.std)
    fake_quantize(student, numbers.image_size)
    student.requires_grad_(True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.0)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (len(images) // BATCH) == 0:
            order = torch.randperm(len(images))
        chosen = order[step % (len(images) // BATCH) * BATCH :][:BATCH]
        pixels = normalize(torch.from_numpy(images[chosen.numpy()]))
        with torch.no_grad():
            wanted = network(pixels).softmax(1)
        for layer in student.modules():
            layer.training = isinstance(layer, FakeQuantized)
        loss = F.cross_entropy(student(pixels), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            print(f"step {step} of {steps}: {loss.item():.4f}", flush=True)
    plain = copy.deepcopy(network)
    plain.load_state_dict(student.state_dict())
    return plain.eval()


def labels_of_file(network: nn.Module, kind: str, train: np.ndarray, test: np.ndarray, numbers: Preprocess) -> np.ndarray:
    """Return the labels (N,) that a file answers, with all layers in 8 bits."""
    found, classes = build_format(kind), tuple(map(str, range(1000)))
    facts = Facts(ARCH, "classify", classes, numbers, "softmax", any_size=False)
    chosen = [train[index][None] for index in np.linspace(0, len(train) - 1, CALIBRATION).round().astype(int)]

    def figure(positions: Sequence[int], answers: np.ndarray) -> float:
        del positions, answers
        return 1.0

    def distance(answer: np.ndarray, expected: np.ndarray) -> float:
        return float(np.abs(answer - expected).sum())

    calibration = QuantizationData(chosen, chosen[:8], lambda outputs: outputs[0], figure, distance, max_drop=1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{found.suffix}"
        found.write(deploy(network, numbers, "softmax", arch=ARCH, any_size=False), path, facts, WriteSettings())
        found.quantize(path, calibration)
        opened = found.open(path, threads=torch.get_num_threads())
        return np.concatenate([opened.run(image[None])[0].argmax(1) for image in test])


if __name__ == "__main__":
    sys.exit(main())
