"""Default training throughput of Darkroom beside that of timm's own train.py, on the same images.

    git clone https://github.com/huggingface/pytorch-image-models
    git -C pytorch-image-models checkout v$(python -c 'import timm; print(timm.__version__)')
    python -m benchmarks.against_timm --timm_train pytorch-image-models/train.py

timm's wheel holds the library without train.py; if there is no tag for your version, take the nearest commit.

Both sides get the same folder of JPEG files, model, number of classes, input size, batch size, number of loader processes
and number of epochs; everything else is each side's default, which differs:

             Darkroom                              timm
precision    bf16 and channels-last where the      float32, channels-first
             hardware has it
optimizer    AdamW, fused                          SGD with momentum
images       fitted and padded, no augmentation    random resized crop, flip, color jitter
loss         cross-entropy                         cross-entropy with label smoothing 0.1

`--timm_flags` adds flags to timm's side, to see how much of the difference one of them explains:
`--timm_flags "--amp --amp-dtype bfloat16 --channels-last"` gives it Darkroom's precision.

The sides take turns, each run in a process of its own. The first epoch of every run warms up and is not counted.
The goal is at least twice timm's images/s for resnet18 at 224 on a CPU with bf16 instructions.
"""

import argparse
import re
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.shared import darkroom_speed, machine_share, run_quietly, write_pictures
from utils.cores import available_cores
from utils.timing import CpuContention

GOAL = 2.0
# A line such as `Train: 1 [   9/10 (100%)]  Loss: 2.30 (2.31)  Time: 0.700s,   45.71/s  (0.800s,   40.00/s)`.
REPORT = re.compile(r"Train: (\d+) \[ *(\d+)/\d+ .*?Time: .*?\( *([\d.]+)s, +([\d.]+)/s\)")


def timm_speed(script: Path, data: Path, output: Path, arguments: list[str]) -> float:
    """Train with timm's script and return images/s, the median of all epochs but the first.

    Its own average over an epoch is taken, which counts waiting for data as Darkroom's figure does.

    Args:
        script: timm's train.py.
        data: folder with train/ and val/.
        output: where timm writes.
        arguments: flags beside the two folders.

    Raises:
        SystemExit: timm failed, or its report cannot be read.
    """
    text = run_quietly([sys.executable, str(script), "--data-dir", str(data), "--output", str(output), *arguments])
    # The last report of an epoch holds the average over all of it.
    epochs = {int(epoch): float(speed) for epoch, _, _, speed in REPORT.findall(text)}
    if len(epochs) < 2:
        raise SystemExit(f"no report of two epochs found in what {script} printed:\n{text[-2000:]}")
    return statistics.median(speed for epoch, speed in epochs.items() if epoch > 0)


def compare(options: argparse.Namespace, data: Path, place: Path) -> float:
    """Let the sides take turns, print one line a round and the medians; return Darkroom / timm."""
    size, batch, workers, epochs = (str(value) for value in (options.size, options.batch, options.workers, options.epochs))
    classes = str(sum(1 for entry in (data / "train").iterdir() if entry.is_dir()))
    own = ["--image_size", size, size, "--batch_size", batch, "--workers", workers, "--device", options.device]
    theirs = ["--model", options.arch, "--num-classes", classes, "--img-size", size, "--batch-size", batch, "--workers", workers]
    theirs += ["--epochs", epochs, "--device", options.device, *shlex.split(options.timm_flags)]
    ours: list[float] = []
    timms: list[float] = []
    for number in range(options.rounds):
        ours.append(darkroom_speed(data, options.arch, place / f"darkroom-{number}", epochs=options.epochs, flags=own))
        timms.append(timm_speed(options.timm_train.resolve(), data, place / f"timm-{number}", theirs))
        print(f"  round {number + 1}  darkroom {ours[-1]:.1f}  timm {timms[-1]:.1f}  ratio {ours[-1] / timms[-1]:.2f}", flush=True)
    ratio = statistics.median(mine / timm for mine, timm in zip(ours, timms, strict=True))
    print(f"{options.arch}  darkroom {statistics.median(ours):.1f}  timm {statistics.median(timms):.1f} images/s  ratio {ratio:.2f}")
    return ratio


def main() -> int:
    """Return 0 when the goal is reached, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Default training throughput of Darkroom and of timm's train.py.")
    parser.add_argument("--timm_train", type=Path, required=True, help="timm's train.py, from a clone of its repository")
    parser.add_argument("--timm_flags", default="", metavar="FLAGS", help="further flags of timm's side, as one string")
    parser.add_argument("--arch", default="resnet18", help="model; its name must mean the same on both sides")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where both sides compute")
    parser.add_argument("--rounds", type=int, default=3, help="turns of both sides")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of every run; the first is not counted")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--size", type=int, default=224, help="height and width of the model's input")
    parser.add_argument("--workers", type=int, default=min(8, available_cores()), help="loader processes, on both sides")
    parser.add_argument("--data", type=Path, help="folder with train/ and val/ of your own images instead of generated ones")
    parser.add_argument("--pictures", type=int, default=320, help="generated training images")
    parser.add_argument("--picture_size", type=int, nargs=2, default=(500, 375), metavar=("W", "H"), help="their size, as JPEG files")
    options = parser.parse_args()
    if not options.timm_train.is_file():
        parser.error(f"--timm_train {options.timm_train}: no such file; see the first lines of this script for where to get it")
    if options.epochs < 2:
        parser.error("--epochs: at least 2 are needed, since the first is not counted")
    with tempfile.TemporaryDirectory(prefix="darkroom-timm-") as folder:
        place = Path(folder)
        data = options.data or write_pictures(place / "data", options.pictures, tuple(options.picture_size))
        contention = CpuContention()
        print(
            f"{available_cores()} cores; input {options.size}x{options.size}, batch {options.batch}, {options.workers} workers", flush=True
        )
        ratio = compare(options, data.resolve(), place)
        print(machine_share(contention))
    print(f"goal: darkroom / timm >= {GOAL}: {'reached' if ratio >= GOAL else 'missed'}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
