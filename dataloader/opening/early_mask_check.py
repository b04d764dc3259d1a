"""Looks at the masks of a split before a run does: an error after an hour of training should have come in its first seconds."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from dataloader.images.read import ImageError, upright_size
from dataloader.sources.defect_folders import DefectTruths
from dataloader.sources.mask_files import MaskFolder
from dataloader.sources.polygons import YoloPolygons, read_yolo
from dataloader.targets.truths import Truths
from utils.cores import default_workers
from utils.errors import UserError

# Masks that are looked at before the first look at the clock; then twice as many each time.
FIRST = 64


def check_masks(truths: Truths | None, root: Path, paths: Sequence[str], *, seconds: float) -> int:
    """Look at the masks of images in a fixed random order, as far as the time goes; return how many were seen.

    What is found in files of numbers is kept in the user's cache, so that a second look takes no time. Of the masks of defects only the
    sizes are looked at. COCO's outlines were read when their file was opened, and labels have no masks: 0 is returned. Files that cannot
    be decoded are left to whoever reads them.

    Raises:
        UserError: a mask holds an id or a color that has no name, or has another size than its image; a line of outlines is none.
    """
    if isinstance(truths, MaskFolder):
        look: Callable[[Sequence[str]], None] = partial(_look_at_files, truths, root)
    elif isinstance(truths, YoloPolygons):
        look = partial(_look_at_lines, truths)
    elif isinstance(truths, DefectTruths):
        look = partial(_refuse_other_sizes, truths.masks, root)
    else:
        return 0
    until, done, step = time.monotonic() + seconds, 0, FIRST
    order: list[int] = np.random.default_rng(0).permutation(len(paths)).tolist()
    while done < len(paths) and (not done or time.monotonic() < until):
        look([paths[place] for place in sorted(order[done : done + step])])
        done, step = min(len(paths), done + step), 2 * step
    return done


def _look_at_files(truths: MaskFolder, root: Path, paths: Sequence[str]) -> None:
    """Raise UserError for a mask of another size than its image, or with what has no name."""
    _refuse_other_sizes({path: truths.file(path) for path in paths if truths.blank is None or path in truths.files}, root, paths)
    truths.count(paths)


def _refuse_other_sizes(masks: Mapping[str, Path], root: Path, paths: Sequence[str]) -> None:
    """Raise UserError for a mask, image -> file, that has another size than its image, by the heads of both files."""
    with ThreadPoolExecutor(max(1, default_workers())) as pool:
        pairs = [(root / path, masks[path]) for path in paths if path in masks]
        for problem in pool.map(_other_size, *zip(*pairs, strict=True)) if pairs else ():
            if problem:
                raise UserError(problem)


def _other_size(image: Path, file: Path) -> str:
    """Return what to say of a mask that has another size than its image; else ''."""
    try:
        high, wide = upright_size(image)
        with Image.open(file) as mask:
            width, height = mask.size
    except (ImageError, OSError, ValueError, SyntaxError):
        return ""
    if (height, width) == (high, wide):
        return ""
    return f"{file}: mask of {width}x{height} pixels for an image of {wide}x{high}, {image}: they must have the same size"


def _look_at_lines(truths: YoloPolygons, paths: Sequence[str]) -> None:
    """Raise UserError for a line that is no outline, or whose class has no name."""
    for path in paths:
        if path in truths.files:
            # Shares of any size can be read.
            read_yolo(truths.root / truths.files[path], (1, 1), truths.numbers)
