"""Fills or finds the cache of --cache: one on every machine, whatever the number of processes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataloader.cache import SPARE, Job, Keep, cache_name, default_folder, keep_in_memory, keep_on_disk, say_bytes
from dataloader.options import DataOptions
from dataloader.pixel_store import PixelStore, open_store
from dataloader.preprocess import Preprocess
from dataloader.split import Split
from utils.cores import default_workers
from utils.distributed import World
from utils.logs import console, log
from utils.text import counted

# Seconds between two lines about the progress, where there is no terminal.
SILENCE = 10


def build_keep(data: DataOptions, preprocess: Preprocess, *, training: bool, largest: int = 0) -> Keep:
    """Return which pixels of an image are needed: those that the model sees, or more where augmentation chooses among them.

    Args:
        data: what is done to images.
        preprocess: the geometry of the model.
        training: whether the images are those of training.
        largest: longer side of the largest images that training sees, where they grow and shrink on the way.
    """
    enough = SPARE * max(largest, *preprocess.image_size)
    if not training:
        return Keep(fitted=preprocess)
    if not data.aug and data.size_schedule is None:
        return Keep(fitted=preprocess, at_least=None if data.exact_decode else enough)
    shorter = data.cache_size or enough
    return Keep(shorter=shorter, at_least=None if data.exact_decode else max(enough, shorter))


def open_cache(data: DataOptions, split: Split, keep: Keep, world: World) -> PixelStore:
    """Return the images of a split as --cache keeps them; the first process of a machine makes them.

    Raises:
        UserError: there is too little memory or disk, or the folder cannot be written.
    """
    started = time.monotonic()
    workers = default_workers() if data.workers is None else data.workers
    leads = world.local_rank == 0
    with _progress(f"caching {split.name} images", len(split), shown=world.is_first) as advance:
        job = Job(split, keep, workers, advance)
        if data.cache == "ram":
            store = _share(keep_in_memory(job) if leads else None, world)
            where = "memory"
        else:
            folder = Path(data.cache_dir).expanduser() if data.cache_dir else default_folder()
            name = cache_name(split, keep)
            store = keep_on_disk(job, folder, name) if leads else _wait_for(folder / name)
            where = str(folder / name)
    lost = f", {len(store.unreadable)} of them unreadable" if store.unreadable else ""
    seconds = time.monotonic() - started
    log().info(f"cache     {counted(len(store), f'{split.name} image')}{lost}: {say_bytes(store.nbytes)} in {where} ({seconds:.1f} s)")
    return store


def _share(store: PixelStore | None, world: World) -> PixelStore:
    """Hand the store of the first process of each machine to the others there."""
    # As plain values: a store opens its memory when it arrives, and that of another machine is out of reach.
    parts = world.gather(None if store is None else (store.place, store.index, store.unreadable))
    return PixelStore(*parts[world.rank - world.local_rank]) if store is None else store


def _wait_for(place: Path) -> PixelStore:
    """Return the store that the first process of the machine makes; where that fails, the launcher ends all of them."""
    while (store := open_store(place)) is None:
        time.sleep(0.5)
    return store


@contextmanager
def _progress(title: str, total: int, *, shown: bool) -> Iterator[Callable[[int], Any]]:
    """Yield a function that is told how many images are done: a bar on a terminal, else a line from time to time."""
    if console().is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console(), transient=True, disable=not shown) as bar:
            line = bar.add_task(title, total=total)
            yield lambda images: bar.advance(line, images)
        return
    done, told = 0, time.monotonic()

    def advance(images: int) -> None:
        nonlocal done, told
        done += images
        if time.monotonic() - told > SILENCE:
            told = time.monotonic()
            log().info(f"          {title}: {done} of {total}")

    yield advance
