"""What is left of training speed beside another busy program, and what it costs where there is none?

    python -m benchmarks.busy

The same training steps run in processes of their own, which take turns: as torch waits by itself, and as Darkroom does
(`utils/busy_machine.py`), each alone on the machine and beside a program that keeps one core busy; and, to compare,
with OMP_WAIT_POLICY=PASSIVE, which a user could set. Goals: Darkroom loses at most 2% alone, and keeps at least half of
its undisturbed speed beside the other program.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from utils.busy_machine import CHOSEN_BY_USER
from utils.cores import available_cores

KINDS = ("torch", "darkroom", "passive")
ALONE, BESIDE = 0.98, 0.5


def speed(arch: str, *, watch: bool, size: int, batch: int, seconds: float) -> float:
    """Return images/s of bare training steps in this process, after some that are not counted."""
    import torch
    import torch.nn.functional as F

    from models import build_model
    from utils.busy_machine import sleep_when_busy
    from utils.runtime import choose_device, choose_precision, keep_freed_memory

    keep_freed_memory()
    if watch:
        sleep_when_busy()
    precision = choose_precision("auto", choose_device("cpu"))
    model = build_model(arch, num_classes=10).to(memory_format=precision.memory_format)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=precision.memory_format)
    targets = torch.randint(10, (batch,))
    # In the first seconds kernels are chosen, and the other program is noticed.
    begun, start, steps = time.perf_counter(), 0.0, 0
    while not start or time.perf_counter() - start < seconds:
        if not start and time.perf_counter() - begun > 3:
            start = time.perf_counter()
        with torch.autocast("cpu", dtype=precision.dtype, enabled=precision.name != "fp32"):
            loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps += bool(start)
    return batch * steps / (time.perf_counter() - start)


def measured(kind: str, options: argparse.Namespace, *, busy: bool) -> float:
    """Return images/s of a process of its own, alone or beside a busy program."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE"} if kind == "passive" else {}
    command = [sys.executable, "-m", "benchmarks.busy", "--only", kind, "--arch", options.arch]
    command += ["--size", str(options.size), "--batch", str(options.batch), "--seconds", str(options.seconds)]
    # Not a child of the process that is measured, as no program of a user is.
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)
    finally:
        if other is not None:
            other.kill()
            other.wait()


def main() -> int:
    """Return 0 when both goals are reached, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Training speed beside another busy program.")
    parser.add_argument("--arch", default="mobilenetv3_large", help="model (default: mobilenetv3_large)")
    parser.add_argument("--rounds", type=int, default=3, help="turns")
    parser.add_argument("--seconds", type=float, default=6, help="of counted steps a turn")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--only", choices=KINDS, help="measure this in this process and print images/s")
    options = parser.parse_args()
    if options.only:
        sizes = {"size": options.size, "batch": options.batch, "seconds": options.seconds}
        print(speed(options.arch, watch=options.only == "darkroom", **sizes))
        return 0
    found: dict[tuple[str, bool], list[float]] = {}
    for number in range(options.rounds):
        for busy in (False, True):
            for kind in KINDS:
                found.setdefault((kind, busy), []).append(measured(kind, options, busy=busy))
        shown = "  ".join(f"{kind}{' beside' if busy else ''} {values[-1]:.1f}" for (kind, busy), values in found.items())
        print(f"round {number + 1}  {shown}", flush=True)
    median = {key: statistics.median(values) for key, values in found.items()}
    print(f"{available_cores()} cores, {options.arch} at {options.size}, batch {options.batch}; medians of {options.rounds}, images/s")
    for kind in KINDS:
        alone, beside = median[kind, False], median[kind, True]
        of_torch, kept = alone / median["torch", False], beside / median["torch", False]
        print(f"{kind:9} alone {alone:.1f} ({of_torch:.0%} of torch's), beside another {beside:.1f} ({kept:.0%})")
    alone = statistics.median(own / bare for own, bare in zip(found["darkroom", False], found["torch", False], strict=True))
    kept = median["darkroom", True] / median["torch", False]
    reached = alone >= ALONE and kept >= BESIDE
    goals = f"alone >= {ALONE:.0%} of torch's ({alone:.1%}), beside another >= {BESIDE:.0%} ({kept:.1%})"
    print(f"goals: {goals}: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
