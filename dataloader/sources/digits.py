"""The built-in data set: 1,797 handwritten digits, 8x8, from scikit-learn (UCI Optical Recognition of Handwritten Digits)."""

import os
import shutil
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import publish_folder
from utils.randomness import Stream, shuffled

VAL_SHARE = 0.1
TEST_SHARE = 0.2


def open_digits(home: Path) -> Path:
    """Return the folder of the digits under `home`, written at the first call."""
    folder = home / "digits"
    write_digits(folder)
    return folder


def write_digits(folder: Path) -> None:
    """Write {train,val,test}/<digit>/<index>.png, 8-bit gray, into `folder`; nothing when the folder exists.

    The split is fixed: about 70, 10 and 20% of every digit. The folder appears complete or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    if folder.is_dir():
        return
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        _write(temporary)
        publish_folder(temporary, folder)
    except OSError as error:
        raise UserError(f"cannot write the digits to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(root: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # The source has 17 levels, 0 to 16.
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        for split, chosen in _fixed_split(members, digit).items():
            folder = root / split / str(digit)
            folder.mkdir(parents=True)
            for index in chosen:
                Image.fromarray(pixels[index]).save(folder / f"{index:04d}.png")


def _fixed_split(members: np.ndarray, digit: int) -> dict[str, np.ndarray]:
    order = members[shuffled(len(members), Stream.SPLIT, digit)]
    val = round(len(members) * VAL_SHARE)
    test = val + round(len(members) * TEST_SHARE)
    return {"val": order[:val], "test": order[val:test], "train": order[test:]}
