"""Images decoded once and kept: in memory for all processes of a machine, or in a file for later runs, too."""

import hashlib
import json
import os
import shutil
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataloader.cache.fill import Filled, fill
from dataloader.cache.pixel_store import PIXELS, PixelStore, open_store, save_store
from dataloader.cache.wait_for_cache import BUILDER, StallDetector, building_name, wait_for_lock
from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess, fit_change, fit_pixels
from dataloader.images.read import ImageError
from dataloader.splits.split import Split
from dataloader.workers.measure_images import weigh
from utils.errors import UserError
from utils.files import locked, new_folder, write_text
from utils.runtime import available_memory
from utils.text import counted, say_bytes
from utils.user_cache import cache_folder

FORMAT = 2
# Reduced images keep this many times the pixels per side that are needed, so that crops are still sharp.
SPARE = 2
# Images that are decoded to estimate the size of a cache.
PROBES = 32
# The rest of the memory is for training.
MEMORY_SHARE = 0.8


def reduce_image(image: np.ndarray, shorter: int) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), with its shorter side reduced to `shorter` pixels; never enlarged."""
    height, width = image.shape[:2]
    least = min(height, width)
    if least <= shorter:
        return image
    size = [max(1, (2 * side * shorter + least) // (2 * least)) for side in (height, width)]
    return fit_pixels(image, size[0], size[1], "stretch")


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


@dataclass(frozen=True)
class CachePolicy:
    """Which pixels of an image a cache holds.

    Attributes:
        fitted: the model's geometry: only the pixels that it sees are kept.
        shorter: else the whole image is kept, its shorter side reduced to this.
        at_least: how far a JPEG may be reduced while it is decoded (see read_image); None decodes every pixel.
    """

    fitted: Preprocess | None = None
    shorter: int | None = None
    at_least: int | None = None

    def __post_init__(self) -> None:
        assert (self.fitted is None) != (self.shorter is None), "either the model's pixels, or the whole image"

    def read_picture(self, split: Split, index: int) -> Picture:
        """Return the cached pixels of image `index`."""
        picture = split.read_picture(index, at_least=self.at_least)
        if self.fitted is not None:
            image, mode = fit_pixels(picture.image, *self.fitted.image_size, self.fitted.resize), self.fitted.resize
        else:
            assert self.shorter is not None
            image, mode = reduce_image(picture.image, self.shorter), "stretch"
        change = fit_change(_size(picture.image), _size(image), mode)
        return Picture(image, picture.size, picture.change.then(change))

    def describe(self) -> str:
        if self.fitted is not None:
            return "{}x{} pixels".format(*self.fitted.image_size)
        return f"a shorter side of at most {self.shorter} pixels"

    def facts(self) -> dict[str, Any]:
        """Return the settings that determine the pixels, as plain values."""
        # Mean and std do not change the cached pixels, so they are not part of the key.
        fitted = None if self.fitted is None else [*self.fitted.image_size, self.fitted.resize]
        return {**asdict(self), "fitted": fitted}


Advance = Callable[[int], Any]


@dataclass(frozen=True)
class CacheFill:
    """A cache to be filled.

    Attributes:
        split: its images.
        keep: which pixels of each are kept.
        workers: processes that decode.
        advance: called with the number of images done.
    """

    split: Split
    keep: CachePolicy
    workers: int
    advance: Advance

    def fill(self, place: str) -> Filled:
        """Write the images into the file `place`, which exists."""
        return fill(
            partial(self.keep.read_picture, self.split),
            len(self.split),
            place,
            workers=self.workers,
            advance=self.advance,
            name=self.split.file,
        )

    def estimate_bytes(self) -> int:
        """Estimate the bytes that the images need from a few of them."""
        count = len(self.split)
        sizes = [max(0, size) for size in self._weigh(np.linspace(0, count - 1, min(count, PROBES)).astype(int).tolist())]
        return round(float(np.mean(sizes)) * count)

    def can_repair(self, store: PixelStore) -> bool:
        """Whether an image that could not be read when `store` was filled can be read now (permissions, network)."""
        return any(size >= 0 for size in self._weigh(sorted(store.unreadable)))

    def _weigh(self, numbers: list[int]) -> Iterator[int]:
        # Probe in worker processes as well: a broken file can crash the decoder.
        return weigh(partial(self.keep.read_picture, self.split), numbers, workers=self.workers, name=self.split.file)


def cache_name(split: Split, keep: CachePolicy) -> str:
    """Return the folder name of a cache: a hash of images and geometry, then one of the state of the files and decoders."""
    which = hashlib.blake2b(digest_size=8)
    # The white value only affects the pixels of 16-bit files, so other caches stay valid.
    range_of_values = [] if split.white is None else [split.white]
    range_of_values += [] if split.bands == 3 else [f"{split.bands} bands"]
    which.update(json.dumps([str(split.root.resolve()), split.name, keep.facts(), *range_of_values]).encode())
    what = hashlib.blake2b(json.dumps([FORMAT, torch.__version__, *_decoders()]).encode(), digest_size=8)
    for index, path in enumerate(split.paths):
        name = f"{path}\0".encode(errors="surrogateescape")
        which.update(name)
        what.update(b"%d %d " % _stamp(split, index))
    # Not a leading dot: the folder would be hidden, also from the search for older states.
    front = split.root.name.lstrip(".") or split.root.resolve().name.lstrip(".") or "images"
    return f"{front}-{split.name}-{which.hexdigest()}-{what.hexdigest()}"


def pooled(split: Split) -> Split:
    """Return the images that share a cache with a split: with folds, all images that the folds are taken from."""
    if not split.pool:
        return split
    targets = np.zeros(len(split.pool), dtype=np.int64)
    return Split("train+val", split.root, split.pool, targets, store=split.store, white=split.white, bands=split.bands)


def part_of(store: PixelStore, split: Split) -> PixelStore:
    """Return the images of a split from a store of `pooled(split)`."""
    if not split.pool:
        return store
    numbers = {path: number for number, path in enumerate(split.pool)}
    return store.subset([numbers[path] for path in split.paths])


def keep_on_disk(job: CacheFill, folder: Path, name: str) -> PixelStore:
    """Fill a cache folder/name and return it; another process that needs the same one waits for it.

    Outdated caches of the same images are removed.

    Raises:
        UserError: the disk is too small, or cannot be written.
    """
    place = folder / name
    with _disk_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f".{name.rpartition('-')[0]}.lock"
        with locked(lock, wait=partial(wait_for_lock, lock, StallDetector(folder, name))):
            store = open_store(place)
            if store is not None and not job.can_repair(store):
                job.advance(len(store))
                return store
            shutil.rmtree(place, ignore_errors=True)
            _remove_others(folder, name)
            _check_disk(job, folder)
            building = new_folder(folder, building_name(name))
            try:
                (building / PIXELS).touch()
                write_text(building / BUILDER, f"process {os.getpid()} on {socket.gethostname()}")
                filled = job.fill(str(building / PIXELS))
                facts = {"root": str(job.split.root), "split": job.split.name, "bands": job.split.bands, **job.keep.facts()}
                save_store(building, *filled, facts)
                (building / BUILDER).unlink()
                building.rename(place)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    store = open_store(place)
    assert store is not None, place
    return store


def keep_in_memory(job: CacheFill) -> PixelStore:
    """Fill an anonymous file in memory, which exists as long as a process has it open.

    Raises:
        UserError: there is too little memory, or this system has no such files.
    """
    _check_memory(job)
    try:
        handle = os.memfd_create("darkroom-cache")
    except (AttributeError, OSError) as error:
        raise UserError("--cache ram needs Linux; use --cache disk") from error
    # Other processes of the user open it by this name.
    place = f"/proc/{os.getpid()}/fd/{handle}"
    try:
        store = PixelStore(place, *job.fill(place), job.split.bands)
    except BaseException:
        os.close(handle)
        raise
    weakref.finalize(store, os.close, handle)
    return store


def default_folder() -> Path:
    """Return the default folder of caches."""
    return cache_folder() / "images"


def _decoders() -> tuple[str, str]:
    import PIL
    import simplejpeg

    return PIL.__version__, simplejpeg.__version__


def _stamp(split: Split, index: int) -> tuple[int, int]:
    try:
        return split.stamp(index)
    except ImageError:
        return -1, -1


def _remove_others(folder: Path, name: str) -> None:
    """Remove outdated caches of the same images, and the unfinished ones of killed processes."""
    prefix = f"{name.rpartition('-')[0]}-"
    for other in folder.iterdir():
        if other.name.removeprefix(".").startswith(prefix):
            shutil.rmtree(other, ignore_errors=True)


def _check_disk(job: CacheFill, folder: Path) -> None:
    needed, free = job.estimate_bytes(), shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"--cache disk: {_need(job, needed)}, but {folder} has {say_bytes(free)} free; {_advice(job)}choose another --cache_dir"
        )


def _check_memory(job: CacheFill) -> None:
    needed, free = job.estimate_bytes(), available_memory()
    if needed > MEMORY_SHARE * free:
        share = f"{MEMORY_SHARE:.0%} of the free memory, {say_bytes(MEMORY_SHARE * free)}, may be used"
        raise UserError(f"--cache ram: {_need(job, needed)}, but {share}; {_advice(job)}use --cache disk")


def _need(job: CacheFill, needed: int) -> str:
    images = counted(len(job.split), f"{job.split.name} image")
    return f"{images} with {job.keep.describe()} {'needs' if len(job.split) == 1 else 'need'} about {say_bytes(needed)}"


def _advice(job: CacheFill) -> str:
    return "lower --cache_size, or " if job.keep.shorter is not None else ""


@contextmanager
def _disk_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"--cache disk: cannot write {folder}: {reason}; choose another --cache_dir") from error
