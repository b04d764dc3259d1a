"""Fills or finds the cache of --cache: one on every machine, whatever the number of processes."""

import os
import time
from pathlib import Path

from dataloader.cache.decoded import (
    SPARE,
    CacheFill,
    CachePolicy,
    cache_name,
    default_folder,
    keep_in_memory,
    keep_on_disk,
    part_of,
    pooled,
)
from dataloader.cache.pixel_store import PixelStore, open_store
from dataloader.cache.wait_for_cache import POLL, StallDetector
from dataloader.images.preprocess import Preprocess
from dataloader.options import DataOptions
from dataloader.splits.split import Split
from utils.cores import default_workers
from utils.distributed import World
from utils.errors import UserError
from utils.logs import log
from utils.processes import is_running
from utils.progress_bar import progress_bar
from utils.text import counted, say_bytes


def build_cache_policy(data: DataOptions, preprocess: Preprocess, *, training: bool, largest: int = 0) -> CachePolicy:
    """Return which pixels of an image are needed: those that the model sees, or more where augmentation chooses among them.

    Args:
        data: what is done to images.
        preprocess: the geometry of the model.
        training: whether the images are those of training.
        largest: longer side of the largest images that training sees, where they grow and shrink on the way.
    """
    enough = SPARE * max(largest, *preprocess.image_size)
    if not training:
        return CachePolicy(fitted=preprocess)
    if not data.aug and data.size_schedule is None:
        return CachePolicy(fitted=preprocess, at_least=None if data.exact_decode else enough)
    shorter = data.cache_size or enough
    return CachePolicy(shorter=shorter, at_least=None if data.exact_decode else max(enough, shorter))


def open_cache(data: DataOptions, split: Split, keep: CachePolicy, world: World) -> PixelStore:
    """Return the images of a split as --cache keeps them; the first process of a machine makes them.

    Raises:
        UserError: there is too little memory or disk, or the folder cannot be written.
    """
    started = time.monotonic()
    workers = default_workers() if data.workers is None else data.workers
    leads = world.local_rank == 0
    kept = pooled(split) if data.cache == "disk" else split
    with progress_bar(f"caching {kept.name} images", len(kept), shown=world.is_first) as advance:
        job = CacheFill(kept, keep, workers, advance)
        if data.cache == "ram":
            store = _share(keep_in_memory(job) if leads else None, world)
            where = "memory"
        else:
            folder = Path(data.cache_dir).expanduser() if data.cache_dir else default_folder()
            name = cache_name(kept, keep)
            leader = world.gather(os.getpid())[world.rank - world.local_rank]
            whole = (
                keep_on_disk(job, folder, name)
                if leads
                else _wait_for(folder / name, leader, StallDetector(folder, name) if world.local_rank == 1 else None)
            )
            store = part_of(whole, split)
            where = str(folder / name) + (f", with those of the other folds {say_bytes(whole.nbytes)}" if kept is not split else "")
    lost = f", {len(store.unreadable)} of them unreadable" if store.unreadable else ""
    seconds = time.monotonic() - started
    log().info(f"cache     {counted(len(store), f'{split.name} image')}{lost}: {say_bytes(store.nbytes)} in {where} ({seconds:.1f} s)")
    return store


def _share(store: PixelStore | None, world: World) -> PixelStore:
    """Hand the store of the first process of each machine to the others there."""
    # Sent as plain values: unpickling a store opens its shared memory, which exists only on the machine that made it.
    parts = world.gather(None if store is None else (store.place, store.index, store.planes, store.unreadable, store.bands))
    return PixelStore(*parts[world.rank - world.local_rank]) if store is None else store


def _wait_for(place: Path, leader: int, watch: StallDetector | None) -> PixelStore:
    """Return the store that the first process of the machine makes.

    Args:
        place: its folder.
        leader: number of that process in the system.
        watch: what one of those that wait says where nothing is written.

    Raises:
        UserError: the leader has ended without it.
    """
    while (store := open_store(place)) is None:
        if not is_running(leader):
            # It may have finished between the two looks.
            if (store := open_store(place)) is not None:
                return store
            raise UserError(f"--cache disk: process {leader}, which was to fill {place}, has ended; what it said tells why")
        if watch is not None and (line := watch.look()):
            # Processes other than the first show only errors.
            log().error(f"cache     {line}; the run waits for it")
        time.sleep(POLL)
    return store
