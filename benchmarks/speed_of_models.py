"""Forward and training time of networks, rows of memory against channels last, and ours against the same of timm or torchvision.

    python -m benchmarks.speed_of_models                       # a chosen list
    python -m benchmarks.speed_of_models --archs resnet50 swin_tiny_patch4_window7_224 --size 224 --device cuda --precision bf16

The networks take turns, one pass each, so that what else the machine does meets all of them; medians are compared. The goal: no
network of ours takes more than 1.05 times what its twin takes forward. Training uses channels last but for the networks that
models/memory_layout.py names; its columns are its times as parts of ours with rows of memory, so below 1 it is faster. What training
does for bf16 on a CPU is done to ours.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models import build_model
from models.depthwise_gradients import speed_up_depthwise_gradients
from utils.runtime import keep_freed_memory
from utils.terminal_tables import print_table
from utils.timing import measure_times

GOAL = 1.05
CLASSES = 1000
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def timm_vovnet39() -> nn.Module:
    """timm's VoVNet-39 with the pool before its first stage and the shortcuts of the published network."""
    from timm.models.vovnet import VovNet

    widths, channels = [256, 512, 768, 1024], 128
    plan = {"stem_chs": [64, 64, 128], "stage_conv_chs": [128, 160, 192, 224], "stage_out_chs": widths, "block_per_stage": [1, 1, 2, 2]}
    net: Any = VovNet({**plan, "layer_per_block": 5, "residual": True, "depthwise": False, "attn": ""}, num_classes=CLASSES, stem_stride=2)
    for stage, width in zip(net.stages, widths, strict=True):
        stage.pool = nn.MaxPool2d(3, 2, 1)
        for block in stage.blocks:
            block.residual, channels = channels == width, width
    return net


# A network of ours, and the same of a package.
TWINS: dict[str, str | Callable[[], nn.Module]] = {
    "resnet18": "torchvision/resnet18",
    "resnet50": "torchvision/resnet50",
    "seresnet50": "timm/seresnet50",
    "resnext50_32x4d": "torchvision/resnext50_32x4d",
    "resnest50": "timm/resnest50d",
    "resnet_50": "timm/resnetv2_50",
    "alexnet": "torchvision/alexnet",
    "vgg11": "torchvision/vgg11",
    "googlenet": "torchvision/googlenet",
    "squeezenet1_1": "torchvision/squeezenet1_1",
    "mobilenetv3_small": "torchvision/mobilenet_v3_small",
    "efficientnet_b0": "timm/tf_efficientnet_b0",
    "darknet53": "timm/darknet53",
    "vovnet39": timm_vovnet39,
    "vit_tiny_patch16_224": "timm/vit_tiny_patch16_224",
    "cait_xxs24_224": "timm/cait_xxs24_224",
    "mixer_s32_224": "timm/mixer_s32_224",
    "swin_tiny_patch4_window7_224": "timm/swin_tiny_patch4_window7_224",
    "convnext_atto": "timm/convnext_atto",
    "convnextv2_atto": "timm/convnextv2_atto",
}


def main(argv: list[str]) -> int:
    """Measure every network of the list, print a row each, and end with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description="time networks forward and in training")
    parser.add_argument("--archs", nargs="+", default=list(TWINS), metavar="NAME", help="networks of ours")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of runs that a figure rests on")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=DTYPES)
    options = parser.parse_args(argv)
    if options.device == "cpu":
        # As main.py does: where memory goes back to the system after every map, faulting it in again is a part of the time.
        keep_freed_memory()
    images = torch.randn(options.batch_size, 3, options.size, options.size, device=options.device)
    rows, missed = [], []
    for arch in options.archs:
        ratio, row = measure(arch, images, dtype=DTYPES[options.precision], seconds=options.seconds)
        rows.append(row)
        missed += [arch] if ratio > GOAL else []
    header = ("network", "forward ms", "of the twin's", "channels last", "training ms", "of the twin's", "channels last", "others")
    print_table(header, rows)
    print(f"slower than {GOAL:g} times the twin: {', '.join(missed)}" if missed else f"none is slower than {GOAL:g} times its twin")
    return int(bool(missed))


def measure(arch: str, images: Tensor, *, dtype: torch.dtype, seconds: float) -> tuple[float, list[str]]:
    """Return forward time as a part of the twin's, and the row of the table."""
    ours = build_model(arch, num_classes=CLASSES).to(images.device)
    turned = build_model(arch, num_classes=CLASSES).to(images.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    turned_images = images.contiguous(memory_format=torch.channels_last)
    if dtype == torch.bfloat16 and not images.is_cuda:
        for net in (ours, turned):
            speed_up_depthwise_gradients(net)
    calls = [forward(ours.eval(), images, dtype), forward(turned.eval(), turned_images, dtype)]
    twin = build_twin(arch)
    if twin is not None:
        twin.to(images.device)
        calls.append(forward(twin.eval(), images, dtype))
    looking = measure_times(calls, seconds=seconds)
    calls = [step(ours.train(), images, dtype), step(turned.train(), turned_images, dtype)]
    learning = measure_times(calls if twin is None else [*calls, step(twin.train(), images, dtype)], seconds=seconds)
    row = [arch]
    for times in (looking, learning):
        rows, last, *theirs = (each.median for each in times)
        row += [f"{1e3 * rows:.1f}", f"{rows / theirs[0]:.2f}" if theirs else "", f"{last / rows:.2f}"]
    return looking[0].median / looking[2].median if twin is not None else 0.0, [*row, f"{looking[0].others:.0%}"]


def build_twin(arch: str) -> nn.Module | None:
    """Return the same network of a package, or None where it has none."""
    twin = TWINS.get(arch)
    return build_model(twin, num_classes=CLASSES) if isinstance(twin, str) else twin() if twin is not None else None


def forward(net: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    """A pass in evaluation."""

    def call() -> None:
        with torch.inference_mode(), autocast(images, dtype):
            net(images)
        finish(images)

    return call


def step(net: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    """Forward and backward in training."""

    def call() -> None:
        net.zero_grad(set_to_none=True)
        with autocast(images, dtype):
            logits = net(images)
        logits.float().square().mean().backward()
        finish(images)

    return call


def autocast(images: Tensor, dtype: torch.dtype) -> torch.autocast:
    """Return a context of its own for every pass, since it keeps the weights that it has converted."""
    return torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32)


def finish(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
