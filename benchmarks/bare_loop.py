"""What does training with Darkroom cost beside the model itself?

    python -m benchmarks.bare_loop

Three loops take turns, each in a process of its own, and the medians are compared:

- darkroom: `python main.py` with its defaults on real JPEG files: reading, decoding, resizing, normalizing, metrics, logs.
- bare: forward, backward and optimizer step of the same model over one synthetic batch that is already in memory, with the
  precision, memory format, optimizer and batch size of Darkroom's defaults. No data, no metrics: nothing can be faster.
- plain: the bare loop as PyTorch does it when nothing is asked for: float32, channels-first, unfused AdamW.

The goal is darkroom >= 95% of bare. With `--compile`, Darkroom's steps are compiled, and the goal is that of `COMPILED_GOALS`; what
compiling takes falls into the first epoch, which is not counted.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared import darkroom_speed, machine_share, run_quietly, write_pictures
from utils.cores import available_cores
from utils.timing import CpuContention

ARCHS = ("resnet18", "mobilenetv3_large", "efficientnet_b0")
GOAL = 0.95
COMPILED_GOALS = {"resnet18": 1.2, "mobilenetv3_large": 1.3, "efficientnet_b0": 1.3}


def bare_speed(arch: str, kind: str, *, size: int, batch: int, classes: int, steps: int, warmup: int = 3) -> float:
    """Return images/s of a training loop without data.

    Args:
        arch: model.
        kind: 'bare' or 'plain', as above.
        size: height and width of the images.
        batch: images a step.
        classes: width of the classifier.
        steps: steps that are timed.
        warmup: steps before them.
    """
    import torch
    import torch.nn.functional as F

    from models import build_model
    from utils.runtime import choose_device, choose_precision

    torch.manual_seed(0)
    device = choose_device("auto")
    precision = choose_precision("auto" if kind == "bare" else "fp32", device)
    layout = precision.memory_format if kind == "bare" else torch.contiguous_format
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    model = build_model(arch, num_classes=classes).to(device, memory_format=layout)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=kind == "bare" or None)
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=layout)
    targets = torch.randint(classes, (batch,), device=device)
    start = 0.0
    for step in range(-warmup, steps):
        if step == 0:
            _finish(device.type)
            start = time.perf_counter()
        with torch.autocast(device.type, dtype=precision.dtype, enabled=precision.name != "fp32"):
            loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _finish(device.type)
    return batch * steps / (time.perf_counter() - start)


def _finish(device_type: str) -> None:
    """Wait for the device, so that the clock counts finished work."""
    if device_type == "cuda":
        import torch

        torch.cuda.synchronize()


def compare(arch: str, options: argparse.Namespace, data: Path, runs: Path) -> float:
    """Let the loops take turns, print one line a round and the medians; return darkroom / bare."""
    speeds: dict[str, list[float]] = {kind: [] for kind in ("plain", "bare", "darkroom") if kind != "plain" or not options.compile}
    contention = CpuContention()
    for number in range(options.rounds):
        for kind in speeds:
            if kind == "darkroom":
                flags = ["--image_size", str(options.size), str(options.size), "--batch_size", str(options.batch)]
                flags += ["--compile", "on"] if options.compile else []
                speed = darkroom_speed(data, arch, runs / f"{arch}-{number}", epochs=options.epochs, flags=flags)
            else:
                command = [sys.executable, "-m", "benchmarks.bare_loop", "--only", kind, "--archs", arch]
                settings = ["--size", options.size, "--batch", options.batch, "--classes", options.classes, "--steps", options.steps]
                speed = float(run_quietly([*command, *map(str, settings)]).split()[-1])
            speeds[kind].append(speed)
        print(f"  round {number + 1}  " + "  ".join(f"{kind} {values[-1]:.1f}" for kind, values in speeds.items()), flush=True)
    ratio = statistics.median(own / bare for own, bare in zip(speeds["darkroom"], speeds["bare"], strict=True))
    medians = "  ".join(f"{kind} {statistics.median(values):.1f}" for kind, values in speeds.items())
    print(f"{arch:18}  {medians} images/s  darkroom / bare {ratio:.3f}  ({machine_share(contention)})", flush=True)
    return ratio


def main() -> int:
    """Return 0 when every model reaches the goal, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Training throughput of Darkroom and of a bare PyTorch loop.")
    parser.add_argument("--archs", nargs="+", default=ARCHS, help=f"models (default: {' '.join(ARCHS)})")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every loop")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of every Darkroom run; the first is not counted")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of the bare loops")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--size", type=int, default=224, help="height and width of the model's input")
    parser.add_argument("--classes", type=int, default=10, help="classes of the generated pictures and of the bare model")
    parser.add_argument("--data", type=Path, help="folder with train/ and val/ of your own images instead of generated ones")
    parser.add_argument("--pictures", type=int, default=320, help="generated training images")
    parser.add_argument("--picture_size", type=int, nargs=2, default=(500, 375), metavar=("W", "H"), help="their size, as JPEG files")
    parser.add_argument("--compile", action="store_true", help="compile Darkroom's steps, and leave the plain loop out")
    parser.add_argument("--only", choices=("bare", "plain"), help="time this loop once in this process and print images/s")
    options = parser.parse_args()
    if options.only:
        shape = {"size": options.size, "batch": options.batch, "classes": options.classes}
        print(bare_speed(options.archs[0], options.only, **shape, steps=options.steps))
        return 0
    with tempfile.TemporaryDirectory(prefix="darkroom-bare-") as folder:
        place = Path(folder)
        data = options.data or write_pictures(place / "data", options.pictures, tuple(options.picture_size), classes=options.classes)
        kind = "own images" if options.data else "JPEG of {}x{}".format(*options.picture_size)
        print(f"{available_cores()} cores; {kind}, input {options.size}x{options.size}, batch {options.batch}", flush=True)
        ratios = {arch: compare(arch, options, data.resolve(), place / "runs") for arch in options.archs}
    goals = {arch: COMPILED_GOALS.get(arch, GOAL) if options.compile else GOAL for arch in ratios}
    for arch, ratio in ratios.items():
        print(f"goal: {arch} darkroom / bare >= {goals[arch]}: {'reached' if ratio >= goals[arch] else 'missed'}")
    return 0 if all(ratio >= goals[arch] for arch, ratio in ratios.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
