"""Forward and training time of networks, rows of memory against channels last, and ours against the same of timm or torchvision.

    python -m benchmarks.speed_of_models                       # a chosen list
    python -m benchmarks.speed_of_models --archs resnet50 swin_tiny_patch4_window7_224 --size 224 --device cuda

The networks take turns, one pass each, so that what else the machine does meets all of them; medians are compared. The goal: no
network of ours takes more than 1.05 times what its twin takes forward. Channels last is what training uses; below 1 it is faster.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models import build_model
from utils.terminal_tables import print_table
from utils.timing import measure_times

# A network of ours, and the same of a package.
TWINS = {
    "resnet18": "torchvision/resnet18",
    "resnet50": "torchvision/resnet50",
    "resnest50": "timm/resnest50d",
    "mobilenetv3_small": "torchvision/mobilenet_v3_small",
    "efficientnet_b0": "timm/tf_efficientnet_b0",
    "vit_tiny_patch16_224": "timm/vit_tiny_patch16_224",
    "cait_xxs24_224": "timm/cait_xxs24_224",
    "mixer_s32_224": "timm/mixer_s32_224",
    "swin_tiny_patch4_window7_224": "timm/swin_tiny_patch4_window7_224",
    "convnext_atto": "timm/convnext_atto",
    "convnextv2_atto": "timm/convnextv2_atto",
}
GOAL = 1.05
CLASSES = 1000


def main(argv: list[str]) -> int:
    """Measure every network of the list, print a row each, and end with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description="time networks forward and in training")
    parser.add_argument("--archs", nargs="+", default=list(TWINS), metavar="NAME", help="networks of ours")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of runs that a figure rests on")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args(argv)
    images = torch.randn(options.batch_size, 3, options.size, options.size, device=options.device)
    rows, missed = [], []
    for arch in options.archs:
        ratio, row = measure(arch, images, seconds=options.seconds)
        rows.append(row)
        missed += [arch] if ratio > GOAL else []
    header = ("network", "forward ms", "of its twin", "channels last, forward", "channels last, training", "others")
    print_table(header, rows)
    print(f"slower than {GOAL:g} times the twin: {', '.join(missed)}" if missed else f"none is slower than {GOAL:g} times its twin")
    return int(bool(missed))


def measure(arch: str, images: Tensor, *, seconds: float) -> tuple[float, list[str]]:
    """Return forward time as a part of the twin's, and the row of the table."""
    ours = build_model(arch, num_classes=CLASSES).to(images.device)
    turned = build_model(arch, num_classes=CLASSES).to(images.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    turned_images = images.contiguous(memory_format=torch.channels_last)
    runs = [forward(ours.eval(), images), forward(turned.eval(), turned_images)]
    if arch in TWINS:
        runs.append(forward(build_model(TWINS[arch], num_classes=CLASSES).eval().to(images.device), images))
    rows_forward, last_forward, *twin = measure_times(runs, seconds=seconds)
    rows_training, last_training = measure_times([step(ours.train(), images), step(turned.train(), turned_images)], seconds=seconds)
    ratio = rows_forward.median / twin[0].median if twin else 0.0
    row = [
        arch,
        f"{1e3 * rows_forward.median:.1f}",
        f"{ratio:.2f}" if twin else "",
        f"{last_forward.median / rows_forward.median:.2f}",
        f"{last_training.median / rows_training.median:.2f}",
        f"{rows_training.others:.0%}",
    ]
    return ratio, row


def forward(net: nn.Module, images: Tensor) -> Callable[[], object]:
    """A pass in evaluation."""

    def call() -> None:
        with torch.inference_mode():
            net(images)
        finish(images)

    return call


def step(net: nn.Module, images: Tensor) -> Callable[[], object]:
    """Forward and backward in training."""

    def call() -> None:
        net.zero_grad(set_to_none=True)
        net(images).square().mean().backward()
        finish(images)

    return call


def finish(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
