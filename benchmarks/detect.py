"""Training of detectors beside Ultralytics' YOLO11: images a second at equal parameters, and test AP after as many minutes, from nothing.

    pip install --target PEERS --no-deps ultralytics ultralytics-thop polars polars-runtime-32 requests urllib3 certifi charset-normalizer
    python -m benchmarks.detect DATA PEERS [--minutes 5] [--only speed|accuracy|darkroom|peer]

DATA is any folder with boxes that docs/detect.md names, such as BCCD. Ultralytics is AGPL-3.0: it is installed apart from this program's
environment, and only processes of its own import it.

speed     yolox_nano beside a YOLO11 that is made as narrow, at 320 pixels, batch 8, two reading processes, each with its own mosaics; they
          take turns, and the medians are compared. yolo11n itself has about three times the parameters
accuracy  test AP of `--minutes M` by defaults alone, and of yolo11n after as many minutes; `darkroom` and `peer` are one of the two sides
"""

import argparse
import csv
import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.shared import ROOT, machine_share, run_quietly
from utils.timing import CpuContention

SIZE, BATCH, WORKERS = 320, 8, 2
# Width of YOLO11 at which it has as many parameters as yolox_nano, and that of yolo11n.
EQUAL_WIDTH, NANO_WIDTH = 0.13, 0.25


def peer(data: str, width: float, folder: str, *, epochs: int, minutes: float | None) -> None:
    """Train YOLO11 of a width, in this process; print its parameters, images/s after the first epoch, and test figures of a timed run."""
    import yaml
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]
    from ultralytics.utils import ROOT as PACKAGE  # pyright: ignore[reportMissingImports]

    shape = yaml.safe_load((PACKAGE / "cfg" / "models" / "11" / "yolo11.yaml").read_text())
    shape |= {"scales": {"n": [0.5, width, 1024]}, "scale": "n"}
    # The letter in the name chooses the scale.
    written = Path(folder) / "yolo11n.yaml"
    written.write_text(yaml.safe_dump(shape))
    network = YOLO(str(written))
    parameters = sum(each.numel() for each in network.model.parameters())
    settings = {"data": data, "imgsz": SIZE, "batch": BATCH, "workers": WORKERS, "device": "cpu", "project": folder, "name": "run"}
    length = {"epochs": epochs} if minutes is None else {"epochs": 1000, "time": minutes / 60}
    network.train(**settings, **length, pretrained=False, plots=False, val=minutes is not None, verbose=False)
    with (Path(folder) / "run" / "results.csv").open(newline="", encoding="utf-8") as file:
        times = [float(row["time"]) for row in csv.DictReader(file, skipinitialspace=True)]
    images = len(network.trainer.train_loader.dataset)
    speed = images / statistics.median(after - before for before, after in itertools.pairwise(times))
    figures = ""
    if minutes is not None:
        found = network.val(data=data, split="test", imgsz=SIZE, device="cpu", plots=False, verbose=False).box
        figures = f" AP {found.map:.1%} AP50 {found.map50:.1%} AP50 of classes {' '.join(f'{each:.1%}' for each in found.ap50)}"
    print(f"peer: {parameters / 1e6:.2f} {speed:.2f}{figures}", flush=True)


def ask_peer(data: Path, peers: Path, width: float, *, epochs: int = 3, minutes: float | None = None) -> str:
    """Return what a process of its own prints of YOLO11: millions of parameters, images/s, test figures."""
    with tempfile.TemporaryDirectory(prefix="darkroom-detect-") as folder:
        command = [sys.executable, "-m", "benchmarks.detect", str(data), str(peers), "--peer", str(width), "--folder", folder]
        command += ["--epochs", str(epochs), *(["--minutes", str(minutes), "--timed"] if minutes is not None else [])]
        answer = run_quietly(["env", f"PYTHONPATH={peers}", f"YOLO_CONFIG_DIR={folder}", "YOLO_OFFLINE=true", *command])
    return next(line.removeprefix("peer: ") for line in reversed(answer.splitlines()) if line.startswith("peer: "))


def darkroom_flags(data: Path, runs: str) -> list[str]:
    """Return the command of main.py, by defaults otherwise."""
    flags = ["--task", "detect", "--data", str(data), "--arch", "yolox_nano", "--image_size", str(SIZE), str(SIZE)]
    return [sys.executable, str(ROOT / "main.py"), *flags, "--logdir", runs, "-j", str(WORKERS)]


def darkroom_speed(data: Path, epochs: int) -> float:
    """Return images/s of main.py, the median of the epochs but the first."""
    with tempfile.TemporaryDirectory(prefix="darkroom-detect-") as runs:
        run_quietly([*darkroom_flags(data, runs), "-b", str(BATCH), "--epochs", str(epochs)])
        (table,) = Path(runs).glob("*/*/metrics.csv")
        with table.open(newline="", encoding="utf-8") as file:
            return statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def compare_speed(data: Path, options: argparse.Namespace) -> None:
    """Let the three take turns, and print the ratios of the medians."""
    speeds: dict[str, list[float]] = {"yolox_nano": [], "equal": [], "yolo11n": []}
    contention, sizes = CpuContention(), {}
    for number in range(options.rounds):
        speeds["yolox_nano"].append(darkroom_speed(data, options.epochs))
        for name, width in (("equal", EQUAL_WIDTH), ("yolo11n", NANO_WIDTH)):
            sizes[name], speed = ask_peer(data, options.peers, width, epochs=options.epochs).split()[:2]
            speeds[name].append(float(speed))
        print(f"  round {number + 1}  " + "  ".join(f"{name} {values[-1]:.1f}" for name, values in speeds.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name in ("equal", "yolo11n"):
        ratio = medians["yolox_nano"] / medians[name]
        print(
            f"yolox_nano {medians['yolox_nano']:.1f} images/s, YOLO11 of {sizes[name]} M parameters {medians[name]:.1f}: {ratio:.2f} times"
        )
    print(machine_share(contention))


def darkroom_accuracy(data: Path, options: argparse.Namespace) -> None:
    """Print test figures of main.py after some minutes of training."""
    contention = CpuContention()
    with tempfile.TemporaryDirectory(prefix="darkroom-detect-") as runs:
        run_quietly([*darkroom_flags(data, runs), "--minutes", str(options.minutes)])
        (folder,) = Path(runs).glob("*/*")
        answer = run_quietly([sys.executable, str(ROOT / "main.py"), "--evaluation", "--resume", str(folder)])
        lines = [line for line in answer.splitlines() if "AP" in line]
        print(f"yolox_nano, {options.minutes:g} minutes:", *lines, sep="\n  ", flush=True)
        print((next(folder.glob("evaluation*")) / "figures" / "classes.csv").read_text(), flush=True)
    print(machine_share(contention))


def peer_accuracy(data: Path, options: argparse.Namespace) -> None:
    """Print test figures of yolo11n after as many minutes."""
    contention = CpuContention()
    print(f"yolo11n, {options.minutes:g} minutes: {ask_peer(data, options.peers, NANO_WIDTH, minutes=options.minutes)}", flush=True)
    print(machine_share(contention))


def main() -> int:
    """Compare, or be the peer that is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("peers", type=Path, help="folder into which Ultralytics was installed")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of a round of the speeds")
    parser.add_argument("--only", choices=("speed", "accuracy", "darkroom", "peer"))
    parser.add_argument("--peer", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--timed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        peer(str(options.data), options.peer, options.folder, epochs=options.epochs, minutes=options.minutes if options.timed else None)
        return 0
    if not (options.peers / "ultralytics").is_dir():
        print(f"{options.peers} holds no Ultralytics; python -m benchmarks.detect --help says how to install it")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    with tempfile.TemporaryDirectory(prefix="darkroom-detect-") as home:
        # Both read the same files.
        converting = ["--convert_labels", "yolo", "--task", "detect", "--data", str(options.data.resolve())]
        run_quietly([sys.executable, str(ROOT / "main.py"), *converting, "--logdir", home, "--name", "yolo"])
        (data,) = Path(home).rglob("data.yaml")
        if options.only in (None, "speed"):
            compare_speed(data, options)
        if options.only in (None, "accuracy", "darkroom"):
            darkroom_accuracy(data, options)
        if options.only in (None, "accuracy", "peer"):
            peer_accuracy(data, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
