"""How long it takes to find 200,000 images in 1,000 class folders, and what that costs in memory.

    python -m benchmarks.scan [--images 200000] [--classes 1000] [--folder DIR]

Writes empty files (once, when --folder is given), then opens them as a data set in a fresh process: for the first time,
and again, when the folders are as they were. Prints the seconds of the scan alone and the most memory of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
GOAL_SECONDS, GOAL_MB = 3.0, 300.0
OPEN = """
import json, resource, sys, time
from dataloader.splits.catalog import open_catalog
start = time.perf_counter()
catalog = open_catalog(sys.argv[1])
seconds = time.perf_counter() - start
found = sum(map(len, catalog.splits.values()))
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found]))
"""


def main() -> int:
    """Print the figures; return 1 when they miss the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="keep the files here for the next call")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "images"
        if not folder.is_dir():
            write(folder, args.images, args.classes)
        environment = {**os.environ, "XDG_CACHE_HOME": str(Path(scratch) / "cache"), "PYTHONPATH": str(ROOT)}
        missed = False
        for what in ("first time", "again"):
            done = subprocess.run([sys.executable, "-c", OPEN, str(folder)], env=environment, capture_output=True, text=True, check=True)
            seconds, megabytes, found = json.loads(done.stdout)
            print(f"{what:<10}  {found} images  {seconds:5.2f} s  {megabytes:4.0f} MB")
            missed = missed or seconds > GOAL_SECONDS or megabytes > GOAL_MB
    print(f"goal: under {GOAL_SECONDS:g} s and {GOAL_MB:g} MB: {'missed' if missed else 'met'}")
    return int(missed)


def write(folder: Path, images: int, classes: int) -> None:
    """Write empty files, spread evenly over the train and val folders of all classes, long enough ago to be remembered."""
    each = images // classes
    for number in range(classes):
        for split, numbers in (("train", range(each // 10, each)), ("val", range(each // 10))):
            place = folder / split / f"n{number:08d}"
            place.mkdir(parents=True)
            for index in numbers:
                os.close(os.open(place / f"n{number:08d}_{index}.JPEG", os.O_CREAT))
            os.utime(place, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
