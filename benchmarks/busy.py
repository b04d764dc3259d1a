"""What is left of training speed beside another busy program, and what it costs where there is none?

    python -m benchmarks.busy

Training steps as torch waits by itself, and as Darkroom does (`utils/busy_machine.py`); beside a program that keeps one core
busy also with OMP_WAIT_POLICY=PASSIVE, which a user could set. Beside that program every way has a process of its own. Alone,
processes differ by more than what is to be seen, so there both ways take turns in one process, and each turn is compared with
the one next to it. Goals: Darkroom loses at most 2% alone, and keeps at least half of its undisturbed speed beside the other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from utils.busy_machine import CHOSEN_BY_USER, sleep_when_busy
from utils.cores import available_cores

KINDS = ("torch", "darkroom", "passive")
ALONE, BESIDE = 0.98, 0.5
# In the first seconds kernels are chosen, and the other program is noticed.
FIRST = 3.0
# In this time the threads of a watch end.
SETTLING = 0.5


def stepping(arch: str, *, size: int, batch: int) -> Callable[[float], float]:
    """Return a function that makes bare training steps for so many seconds and returns images/s."""
    import torch
    import torch.nn.functional as F

    from models import build_model
    from utils.runtime import choose_device, choose_precision, keep_freed_memory

    keep_freed_memory()
    precision = choose_precision("auto", choose_device("cpu"))
    model = build_model(arch, num_classes=10).to(memory_format=precision.memory_format)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=precision.memory_format)
    targets = torch.randint(10, (batch,))

    def steps(seconds: float) -> float:
        begun, made = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            with torch.autocast("cpu", dtype=precision.dtype, enabled=precision.name != "fp32"):
                loss = F.cross_entropy(model(images), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            made += 1
        return batch * made / (time.perf_counter() - begun)

    return steps


def alone(options: argparse.Namespace) -> list[tuple[float, float]]:
    """Return images/s of torch and of Darkroom in turns that follow one another; who is first changes."""
    steps = stepping(options.arch, size=options.size, batch=options.batch)
    steps(FIRST)
    found = []
    for number in range(options.rounds):
        turn = {}
        for watched in (False, True) if number % 2 else (True, False):
            ended = sleep_when_busy() if watched else None
            turn[watched] = steps(options.seconds)
            if ended is not None:
                ended.set()
                time.sleep(SETTLING)
        found.append((turn[False], turn[True]))
    return found


def beside(kind: str, options: argparse.Namespace) -> float:
    """Return images/s in this process."""
    steps = stepping(options.arch, size=options.size, batch=options.batch)
    if kind == "darkroom":
        sleep_when_busy()
    steps(FIRST)
    return steps(options.seconds)


def measured(what: str, options: argparse.Namespace, *, busy: bool) -> Any:
    """Return what a process of its own measured, alone or beside a busy program."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE"} if what == "passive" else {}
    command = [sys.executable, "-m", "benchmarks.busy", "--only", what, "--arch", options.arch, "--rounds", str(options.rounds)]
    command += ["--size", str(options.size), "--batch", str(options.batch), "--seconds", str(options.seconds)]
    # Not a child of the process that is measured, as no program of a user is.
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)
    finally:
        if other is not None:
            other.kill()
            other.wait()


def main() -> int:
    """Return 0 when both goals are reached, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Training speed beside another busy program.")
    parser.add_argument("--arch", default="mobilenetv3_large", help="model (default: mobilenetv3_large)")
    parser.add_argument("--rounds", type=int, default=4, help="turns")
    parser.add_argument("--seconds", type=float, default=5, help="of counted steps a turn")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--only", choices=("alone", *KINDS), help="measure this in this process and print images/s")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(alone(options) if options.only == "alone" else beside(options.only, options)))
        return 0
    turns = measured("alone", options, busy=False)
    for bare, own in turns:
        print(f"alone     torch {bare:.1f}  darkroom {own:.1f}  ratio {own / bare:.3f}", flush=True)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind, values in found.items():
            values.append(measured(kind, options, busy=True))
        print("beside    " + "  ".join(f"{kind} {values[-1]:.1f}" for kind, values in found.items()), flush=True)
    usual, kept = statistics.median(bare for bare, _ in turns), statistics.median(own / bare for bare, own in turns)
    print(f"{available_cores()} cores, {options.arch} at {options.size}, batch {options.batch}; medians of {options.rounds}")
    print(f"alone     torch {usual:.1f} images/s, darkroom {kept:.1%} of that")
    shares = {kind: statistics.median(values) / usual for kind, values in found.items()}
    print("beside    " + ", ".join(f"{kind} {statistics.median(found[kind]):.1f} ({share:.0%})" for kind, share in shares.items()))
    reached = kept >= ALONE and shares["darkroom"] >= BESIDE
    goals = f"alone >= {ALONE:.0%} of torch's ({kept:.1%}), beside another >= {BESIDE:.0%} ({shares['darkroom']:.1%})"
    print(f"goals: {goals}: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
