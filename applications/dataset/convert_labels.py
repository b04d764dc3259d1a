"""Writes the images of --data with their boxes in another format, into a new folder, and reads them back."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote

import numpy as np

from applications.dataset.written_data import describe, name_of_data
from applications.settings.options import Request, run_folder_parent
from applications.tasks import TASKS
from dataloader.images.read import ImageError
from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.catalog import Catalog
from dataloader.targets.boxes import Boxes
from dataloader.writers.boxes import BOX_FORMATS, BoxedImage, BoxFormat, plan_images
from utils.cores import default_workers
from utils.errors import UserError
from utils.files import new_folder, removed_on_error
from utils.logs import log
from utils.progress_bar import progress_bar
from utils.text import counted

# Pixels by which a box may differ when it is read back: the last digit of a number of 24 bits, in a large image.
ALLOWED = 1e-3


def run(request: Request) -> int:
    """Write the folder, and say how to train on it."""
    config, data = request.config, request.config.data
    chosen, task = BOX_FORMATS[request.subject], config.train.task
    if task is not None and TASKS.resolve(task).target is not Boxes:
        raise UserError(f"--convert_labels writes boxes, and --task {task} has none; leave the flag out")
    catalog = open_catalog(
        data.data,
        seed=config.split_seed,
        val_share=data.val_share,
        test_share=data.test_share,
        group_by=data.group_by,
        require_train=False,
        target=Boxes,
        asked_by="--convert_labels",
        reading=config.truths.reading(),
    )
    if data.fold is not None:
        catalog = take_fold(catalog, data.fold, seed=config.split_seed)
    for note in catalog.notes:
        log().warning(note)
    log().info(f"data      {catalog.root}: {describe(catalog)}")
    try:
        images = list(plan_images(catalog))
    except ImageError as error:
        raise UserError(f"{error}; --check names all such images") from error
    usual = f"{name_of_data(data.data, catalog.root)}-{request.subject}"
    folder = new_folder(run_folder_parent(config.output, "convert_labels"), config.output.name or usual)
    with removed_on_error(folder):
        _copy(catalog, images, [folder / chosen.place(image) for image in images], data.workers)
        chosen.write(images, catalog.classes, folder)
        lost = _compare(catalog, images, folder, chosen)
    crowds = sum(int(image.boxes.crowd.sum()) for image in images)
    if crowds and not chosen.crowds:
        log().warning(f"{chosen.title} cannot mark crowds and difficult objects: {counted(crowds, 'box is', 'boxes are')} left out")
    if lost:
        log().warning(f"{chosen.title} takes a box of up to a pixel for none: {counted(lost, 'box is', 'boxes are')} lost")
    boxes = sum(len(image.boxes) for image in images) - lost - (0 if chosen.crowds else crowds)
    log().info(
        f"written   {folder}: {counted(boxes, 'box', 'boxes')} on {counted(len(images), 'image')} as {chosen.title}, read back alike"
    )
    log().info(f"next: python main.py --task detect --data {quote(str(folder))}")
    return 0


def _copy(catalog: Catalog, images: Sequence[BoxedImage], places: Sequence[Path], workers: int | None) -> None:
    """Copy the images as they are.

    Raises:
        UserError: one cannot be read or written.
    """
    for parent in {place.parent for place in places}:
        parent.mkdir(parents=True, exist_ok=True)
    sources = [catalog.splits[image.split].file(image.index) for image in images]
    with (
        progress_bar("images", len(images)) as advance,
        ThreadPoolExecutor(max(1, default_workers() if workers is None else workers)) as pool,
    ):
        try:
            for _ in pool.map(shutil.copyfile, sources, places):
                advance(1)
        except OSError as error:
            raise UserError(f"cannot copy {error.filename}: {error.strerror}") from error


def _compare(catalog: Catalog, images: Sequence[BoxedImage], folder: Path, chosen: BoxFormat) -> int:
    """Read the new folder, and return how many boxes are too small for the format.

    Raises:
        UserError: a box is another one than in the old data.
    """
    written = open_catalog(str(folder), target=Boxes, require_train=False)
    found = {Path(path).name: split.target(index) for split in written.splits.values() for index, path in enumerate(split.paths)}
    lost = 0
    for image in images:
        wanted, got = image.boxes, found.get(image.name)
        if not chosen.crowds:
            wanted = wanted.chosen(~wanted.crowd)
        if isinstance(got, Boxes) and len(got) < len(wanted):
            large = (wanted.corners[:, 2:] - wanted.corners[:, :2]).min(axis=1) > 1
            lost += int((~large).sum())
            wanted = wanted.chosen(large)
        if not isinstance(got, Boxes) or not _alike(wanted, got, catalog.classes, written.classes):
            raise UserError(f"{folder}: the boxes of {image.name} are others when they are read back; please report it")
    return lost


def _alike(one: Boxes, other: Boxes, names: Sequence[str], other_names: Sequence[str]) -> bool:
    """Whether the boxes of an image are the same, in the same order."""
    return (
        len(one) == len(other)
        and one.size == other.size
        and [names[number] for number in one.classes] == [other_names[number] for number in other.classes]
        and one.crowd.tolist() == other.crowd.tolist()
        and bool((np.abs(one.corners - other.corners) <= ALLOWED).all())
    )
