"""The picture of docs/check.md: the page of a check of generated images, with leaks, a label conflict and damaged files.

apt install chromium
python -m benchmarks.check_picture             # writes docs/images/check.png, in about a minute
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.shared import ROOT

TARGET = ROOT / "docs/images/check.png"
# Images of each class.
COUNTS = {"train": 30, "val": 10, "test": 10}
CLASSES = ("calm", "loud", "wild")
WIDTH, HEIGHT = 1100, 2000


def main() -> int:
    """Write the picture; return the exit code."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_images(folder / "toys")
        call = [sys.executable, str(ROOT / "main.py"), "--check", "--data", "toys", "--logdir", "runs"]
        # The check finds errors, and ends with 1.
        subprocess.run(call, cwd=folder, check=False)
        picture = photograph_page(folder / "runs/check/toys/check.html", folder / "page.png")
    picture.save(TARGET, optimize=True)
    print(f"written   {TARGET}: {picture.width}x{picture.height}, {TARGET.stat().st_size / 1000:.0f} kB")
    return 0


def write_images(root: Path) -> None:
    """Write a folder of three classes, where two images leak, one has two labels, and three files are damaged."""
    from tests.dataloader.checks.faulty_images import save, scene

    seed = 0
    for split, count in COUNTS.items():
        for label in CLASSES:
            for number in range(count):
                save(scene(seed, (500, 375)), root / split / label / f"{number:03d}.jpg", quality=90)
                seed += 1
    train, test = root / "train", root / "test"
    (test / "calm" / "again.jpg").write_bytes((train / "calm" / "003.jpg").read_bytes())
    (root / "val" / "loud" / "old.jpg").write_bytes((train / "loud" / "007.jpg").read_bytes())
    (train / "wild" / "same.jpg").write_bytes((train / "calm" / "021.jpg").read_bytes())
    for name in ("005.jpg", "006.jpg"):
        whole = (train / "loud" / name).read_bytes()
        (train / "loud" / name).write_bytes(whole[: len(whole) // 2])
    (train / "calm" / "notes.jpg").write_text("what to buy")
    for label, name in (("calm", "011.jpg"), ("loud", "015.jpg")):
        with Image.open(train / label / name) as image:
            save(image.resize((330, 248)), test / label / f"small-{name}", quality=60)


def photograph_page(page: Path, target: Path) -> Image.Image:
    """Return the top of a page as a browser shows it, without the empty margin below."""
    browser = os.environ.get("BROWSER", "chromium")
    size = f"--window-size={WIDTH},{HEIGHT}"
    shot = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size, f"--screenshot={target}", page.as_uri()]
    subprocess.run(shot, check=True, capture_output=True)
    with Image.open(target) as opened:
        return opened.convert("RGB")


if __name__ == "__main__":
    sys.exit(main())
