"""Small generated data sets for the tests of the data shelf."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.catalog import Split


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


@pytest.fixture
def make_split(tmp_path: Path, write_images: Callable[..., Path]) -> Callable[..., Split]:
    """Write `count` images and return them as a split of three classes."""

    def make(count: int, *, name: str = "train", size: tuple[int, int] = (12, 10)) -> Split:
        write_images(tmp_path, {name: count}, size=size)
        paths = tuple(f"{name}/{index:03d}.png" for index in range(count))
        return Split(name, tmp_path, paths, np.arange(count, dtype=np.int64) % 3)

    return make
