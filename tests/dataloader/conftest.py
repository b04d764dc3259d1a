"""Small generated data sets for the tests of the data shelf."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader import SOURCES
from dataloader.sources.downloads import Download
from dataloader.splits.split import Split


@pytest.fixture
def write_images() -> Callable[..., Path]:
    """Write {folder: number of images} under a root; every image has its own pixels."""

    def write(root: Path, counts: dict[str, int], *, size: tuple[int, int] = (12, 10)) -> Path:
        number = 0
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{index:03d}.png")
                number += 1
        return root

    return write


class FakeSet:
    """As much of a data set of torchvision as is used: a dozen images of three classes, as arrays or in files."""

    def __init__(self, root: str, *, download: bool, listed: tuple[str, ...], suffix: str, **arguments: object) -> None:
        assert download
        self.classes = [("first", "other name"), "a/b", "third"]
        split = "train" if arguments.get("train", arguments.get("split", "train")) in (True, "train", "trainval") else "held out"
        count = 36 if split == "train" else 6
        self.images = [np.random.default_rng([count, number]).integers(0, 256, (6, 5, 3), dtype=np.uint8) for number in range(count)]
        (Path(root) / "archive.zip").touch()
        paths = [str(Path(root) / split / f"{number}{suffix}") for number in range(count)]
        (Path(root) / split).mkdir(exist_ok=True)
        for path, image in zip(paths, self.images, strict=True) if listed else ():
            Image.fromarray(image).save(path)
        targets = [number % 3 for number in range(count)]
        columns = [list(zip(paths, targets, strict=True))] if len(listed) == 1 else [paths, targets]
        for name, column in zip(listed, columns, strict=False):
            setattr(self, name, column)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), index % 3


@pytest.fixture
def fake_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every data set that is downloaded be a small one."""
    datasets = pytest.importorskip("torchvision.datasets")
    for name in SOURCES:
        source = SOURCES.resolve(name)
        if isinstance(source, Download):
            suffix = ".ppm" if name == "gtsrb" else ".JPEG"
            monkeypatch.setattr(datasets, source.dataset, partial(FakeSet, listed=source.listed, suffix=suffix))


@pytest.fixture
def make_split(tmp_path: Path, write_images: Callable[..., Path]) -> Callable[..., Split]:
    """Write `count` images and return them as a split of three classes."""

    def make(count: int, *, name: str = "train", size: tuple[int, int] = (12, 10)) -> Split:
        write_images(tmp_path, {name: count}, size=size)
        paths = tuple(f"{name}/{index:03d}.png" for index in range(count))
        return Split(name, tmp_path, paths, np.arange(count, dtype=np.int64) % 3)

    return make
