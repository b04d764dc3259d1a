"""What fine-tuning with rounding (--quantization_aware) gives back of the accuracy that 8 bits cost, beside fine-tuning without it.

Every network is fine-tuned twice from its best weights, with the same epochs and rates: with rounding, and
without, which says what the epochs alone would give. All three are exported with every layer in 8 bits, and measured on test images.

Run from the root: python -m benchmarks.quantization_aware --runs RUN ... [--formats onnx] [--out DIR]
A run that was measured is not measured again: a stopped benchmark goes on by the same command.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.terminal_tables import print_table

FORMATS = ("onnx", "openvino")
# Both fine-tunings have the length and the rates that --quantization_aware takes by itself.
TUNINGS = {"rounding": ("--quantization_aware",), "without": ("--lr", "1e-4", "--head_lr", "1e-4")}


def main() -> int:
    """Print the table; return 1 where fine-tuning with rounding ends below the files that were not fine-tuned, on average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="trained runs of classifiers")
    parser.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    parser.add_argument("--epochs", default="5")
    parser.add_argument("--out", type=Path, default=Path("runs/quantization_aware"))
    arguments = parser.parse_args()
    rows, gains = [], []
    for run in arguments.runs:
        found = {"as trained": figures(run, arguments.formats)}
        for name, flags in TUNINGS.items():
            tuned = arguments.out / "classify" / f"{run.name}-{name}"
            if not (tuned / "finished").is_file():
                fine_tune(run, tuned, arguments.epochs, flags)
            found[name] = figures(tuned, arguments.formats)
        for name, (full, eight) in found.items():
            rows.append([run.name, name, f"{100 * full:.1f}%", *(f"{100 * eight[kind]:.1f}%" for kind in arguments.formats)])
        gains += [found["rounding"][1][kind] - found["as trained"][1][kind] for kind in arguments.formats]
    print_table(("network", "fine-tuned", "full precision", *(f"{kind}, 8 bits" for kind in arguments.formats)), rows)
    return 1 if sum(gains) < 0 else 0


def fine_tune(run: Path, tuned: Path, epochs: str, flags: tuple[str, ...]) -> None:
    """Fine-tune the best weights of a run, into a folder of this name."""
    settings = json.loads((run / "config.json").read_text())
    size = [str(side) for side in settings["image_size"]]
    same = ("--data", settings["data"], "--arch", settings["arch"], "--image_size", *size, "--seed", str(settings["seed"]))
    place = ("--logdir", str(tuned.parent.parent), "--name", tuned.name)
    _main(*same, "--init_from", str(run / "best.pt"), "--epochs", epochs, *flags, *place)
    (tuned / "finished").touch()


def figures(run: Path, formats: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Return the accuracy on test images of a run, and those of its files with all layers in 8 bits."""
    records = [run / f"parity-{kind}-int8.json" for kind in formats]
    if not all(record.is_file() for record in records):
        _main("--export", ",".join(formats), "--int8", "--max_drop", "1", "--split", "test", "--resume", str(run))
    told = [json.loads(record.read_text())["parity"] for record in records]
    return told[0]["model"], {kind: each["file"] for kind, each in zip(formats, told, strict=True)}


def _main(*flags: str) -> None:
    done = subprocess.run([sys.executable, "main.py", *flags], check=False)
    if done.returncode:
        raise SystemExit(f"python main.py {' '.join(flags)} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
