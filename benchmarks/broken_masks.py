"""How far 16 bits move the probabilities of a segmenter, beside exports that are broken on purpose: what a limit must tell apart.

python -m benchmarks.broken_masks RUN [--images N]

For every change the largest difference of a probability, the mean over pixels of half the sum over classes (of sigmoids: of the class that
moved farthest), the same of the image in which it is largest, and the share of pixels whose class turns. Exit code 1: 16 bits are refused,
or a broken export is kept, by the bounds of files in 16 bits.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from applications.export import reference_kind
from applications.export.answers import Answers
from applications.export.convert import BATCH
from applications.export.reference import spread
from applications.export.source import COMPARED_ON
from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.format import Holds, WriteSettings
from applications.formats.openvino import OpenVino
from applications.settings.options import ExportOptions
from applications.trained.checkpoint import load_trained, open_held_out
from dataloader.images.preprocess import Normalize
from utils.checkpoint import BEST, find_checkpoint
from utils.terminal_tables import print_table
from utils.timing import Timing

Change = Callable[[Tensor], Tensor]


def blurred(pixels: Tensor) -> Tensor:
    """Return images (1, 3, H, W) that went through half their size."""
    small = F.interpolate(pixels.float(), scale_factor=0.5, mode="bilinear")
    return F.interpolate(small, size=pixels.shape[-2:], mode="bilinear").round().clamp(0, 255).to(torch.uint8)


def noisy(pixels: Tensor) -> Tensor:
    """Return images in which values are wrong by one, up or down, or right."""
    return (pixels.int() + torch.randint(-1, 2, pixels.shape)).clamp(0, 255).to(torch.uint8)


PIXELS: dict[str, Change] = {
    "values wrong by up to 1 of 255": noisy,
    "a pixel to the side": lambda pixels: pixels.roll(1, 3),
    "another resize": blurred,
    "BGR": lambda pixels: pixels.flip(1),
}


def answers(deployed: Deployed, images: list[Tensor]) -> np.ndarray:
    """Return the probabilities (N, C, H, W) of images."""
    with torch.inference_mode():
        said = [deployed.answering(pixels) for pixels in images]
    return np.concatenate([(each[0] if isinstance(each, tuple) else each).numpy() for each in said])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--images", type=int, default=16)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    trained = load_trained(find_checkpoint(arguments.run, BEST), {}, "export", torch.device("cpu"))
    kind, numbers, options = reference_kind(trained.task), trained.preprocess, ExportOptions(half=True)
    task, split = kind.build_task(trained, torch.device("cpu")), open_held_out(trained, COMPARED_ON)
    reference = kind(task, split.subset(spread(len(split), arguments.images)))
    images = [numbers.apply(reference.split.read(index))[None] for index in range(len(reference.split))]
    deployed = kind.deploy(trained, task, ExportOptions(), any_size=False)
    expected = answers(deployed, images)

    def by_mean(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
        other = copy.deepcopy(deployed)
        other.answering.normalize = Normalize(mean, std)
        return answers(other, images)

    with tempfile.TemporaryDirectory() as folder:
        place, told = Path(folder) / "half.xml", kind.facts(trained, task, options, Holds())
        facts = Facts(trained.config.model.arch, trained.task, trained.classes, numbers, any_size=False, **told)
        OpenVino().write(kind.deploy(trained, task, options, any_size=False), place, facts, WriteSettings())
        opened = OpenVino().open(place, threads=torch.get_num_threads())
        found = {"16 bits": np.concatenate([opened.run(pixels.numpy())[0] for pixels in images])}
        batches = [torch.cat(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        batched = {"16 bits": np.concatenate([opened.run(pixels.numpy())[0] for pixels in batches])}
    found |= {name: answers(deployed, [change(pixels) for pixels in images]) for name, change in PIXELS.items()}
    found["mean off by 0.02"] = by_mean(tuple(mean + 0.02 for mean in numbers.mean), numbers.std)
    found["mean and std 0.5"] = by_mean((0.5,) * len(numbers.mean), (0.5,) * len(numbers.std))
    rows, wrong, allowed = [], 0, kind.allowed["half"]
    for name, said in found.items():
        file = Answers(facts, said, batched.get(name, said), Timing(0.0, 0.0, 0.0, 1, 0.0), 0.0)
        parity = reference.compare(expected, file, facts, allowed)
        kept = not parity.refusal(allowed)
        wrong += kept != (name == "16 bits")
        turned = 1 - parity.agreeing / parity.answers
        told = (f"{parity.largest:.3f}", f"{parity.mean:.1e}", f"{parity.worst_mean:.1e}", f"{turned:.2%}")
        rows.append([name, *told, "yes" if kept else "no"])
    print_table(("export", "largest", "mean", "mean of the worst image", "pixels turned", "kept"), rows)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
