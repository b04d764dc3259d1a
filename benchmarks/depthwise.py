"""What do training steps in bf16 on a CPU gain by fast gradients of depthwise convolutions?

    python -m benchmarks.depthwise [--archs NAME ...]

The same step (forward, backward, AdamW, one batch in memory) with torch's own gradients and with those of models/depthwise_gradients.py, in
turns, each in a process of its own. The goal is 1.3 times as fast.
"""

import argparse
import statistics
import sys
import time

from benchmarks.shared import machine_share, run_quietly
from utils.timing import CpuContention

ARCHS = ("mobilenetv3_large", "efficientnet_b0", "torchvision/mobilenet_v2")
GOAL = 1.3


def speed(arch: str, *, fast: bool, size: int, batch: int, steps: int) -> float:
    """Return images/s of bare training steps in this process."""
    import torch
    import torch.nn.functional as F

    from models import build_model
    from models.depthwise_gradients import speed_up_depthwise_gradients
    from utils.runtime import keep_freed_memory

    keep_freed_memory()
    torch.manual_seed(0)
    model = build_model(arch, num_classes=10).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if fast:
        speed_up_depthwise_gradients(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    targets, took = torch.randint(10, (batch,)), []
    for _ in range(2 + steps):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        took.append(time.perf_counter() - start)
    return batch / statistics.median(took[2:])


def main() -> int:
    """Print a line for each network; return 1 where one misses the goal."""
    parser = argparse.ArgumentParser(description="Training steps with fast gradients of depthwise convolutions.")
    parser.add_argument("--archs", nargs="+", default=ARCHS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--only", choices=("torch", "fast"), help="time this once in this process and print images/s")
    options = parser.parse_args()
    if options.only:
        print(speed(options.archs[0], fast=options.only == "fast", size=options.size, batch=options.batch, steps=options.steps))
        return 0
    ratios = []
    for arch in options.archs:
        contention, found = CpuContention(), {"torch": [], "fast": []}
        for _ in range(options.rounds):
            for kind, values in found.items():
                command = [sys.executable, "-m", "benchmarks.depthwise", "--archs", arch, "--only", kind, "--steps", str(options.steps)]
                values.append(float(run_quietly([*command, "--size", str(options.size), "--batch", str(options.batch)])))
        usual, fast = (statistics.median(values) for values in found.values())
        ratios.append(fast / usual)
        print(f"{arch:26} torch {usual:.1f}  fast {fast:.1f} images/s  ratio {fast / usual:.2f}  ({machine_share(contention)})", flush=True)
    return int(min(ratios) < GOAL)


if __name__ == "__main__":
    sys.exit(main())
