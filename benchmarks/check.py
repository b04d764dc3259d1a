"""How long does the data check take, and does its quick part hold training up?

    python -m benchmarks.check

Writes JPEG files of 500x375, then lets `python main.py --check` look at them: every file read and decoded once, hashed, compared
with all others, and the page written. Then the leak check that training makes by itself is timed over the same files, which the
system has in memory by now. The goals are 60 s and 1 s for 10,000 images on 2 cores.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared import ROOT, machine_share, run_quietly, write_pictures
from utils.cores import available_cores
from utils.timing import CpuContention

GOAL, LEAK_GOAL, IMAGES = 60.0, 1.0, 10_000


def check_seconds(data: Path, runs: Path) -> float:
    """Return the seconds of one call of `python main.py --check`, start of the program included.

    Raises:
        SystemExit: it failed, or found an error in good pictures.
    """
    start = time.perf_counter()
    run_quietly([sys.executable, str(ROOT / "main.py"), "--check", "--data", str(data), "--logdir", str(runs)])
    return time.perf_counter() - start


def leak_seconds(data: Path) -> float:
    """Return the seconds that training spends on stamps and leaks before its first step."""
    from dataloader.opening.open_catalog import open_catalog
    from dataloader.splits.integrity import find_leaks, stamp

    catalog = open_catalog(str(data))
    start = time.perf_counter()
    for split in catalog.splits.values():
        stamp(split)
    find_leaks(catalog)
    return time.perf_counter() - start


def main() -> int:
    """Return 0 when both goals are reached, scaled to the number of pictures; 1 otherwise."""
    parser = argparse.ArgumentParser(description="Seconds of the data check, and of the leak check of training.")
    parser.add_argument("--data", type=Path, help="folder with train/ and val/ of your own images instead of generated ones")
    parser.add_argument("--pictures", type=int, default=IMAGES, help="generated training images")
    parser.add_argument("--picture_size", type=int, nargs=2, default=(500, 375), metavar=("W", "H"), help="their size, as JPEG files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-check-") as folder:
        place = Path(folder)
        data = options.data or write_pictures(place / "data", options.pictures, tuple(options.picture_size))
        count = sum(1 for path in data.rglob("*") if path.is_file())
        print(f"{available_cores()} cores; {count:,} files", flush=True)
        contention = CpuContention()
        seconds = check_seconds(data.resolve(), place / "runs")
        leaks = leak_seconds(data.resolve())
    print(f"check      {seconds:.1f} s, {count / seconds:.0f} images/s  ({machine_share(contention)})")
    print(f"leak check {leaks:.2f} s")
    reached = seconds <= GOAL * count / IMAGES and leaks <= LEAK_GOAL * count / IMAGES
    print(f"goal: {GOAL:.0f} s and {LEAK_GOAL:.0f} s for {IMAGES:,} images: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
