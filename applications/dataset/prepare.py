"""Writes the images of --data to a new folder: smaller, split, listed, with mean and standard deviation of the channels."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from shlex import quote

from applications.assemble.ranged import ranged
from applications.settings.options import Request, RunConfig
from dataloader import SOURCES
from dataloader.images.mean_std import read_mean_std
from dataloader.splits.catalog import open_catalog
from dataloader.splits.split import Catalog
from dataloader.writers.claim import begin_or_continue, write_note
from dataloader.writers.prepared import MEAN_STD, fingerprints, plan_copies, write_tables
from dataloader.writers.resized import Resizer, Written
from utils.errors import UserError
from utils.logs import log
from utils.parallel import spread
from utils.progress import progress_bar
from utils.text import counted

NOTE = "prepare.json"
MOST_NAMED = 5


def run(request: Request) -> int:
    """Write the folder that --prepare names."""
    config = request.config
    folder = Path(request.subject).expanduser()
    data, seed = config.data, config.runtime.seed
    found = open_catalog(data.data, seed=seed, val_share=data.val_share, test_share=data.test_share, group_by=data.group_by)
    catalog = ranged(found, data.workers)
    refuse_inside(folder, catalog.root)
    for note in catalog.notes:
        log().warning(note)
    options = config.prepare
    settings = {**fingerprints(catalog), "smaller_side": options.smaller_side, "center_crop": options.center_crop}
    finished = begin_or_continue(folder, NOTE, settings)
    log().info(f"data      {catalog.root}: {describe(catalog)}")
    log().info(f"write     {folder}: smaller side {options.smaller_side}{', centered square' if options.center_crop else ''}")
    resizer = Resizer(dict(catalog.splits), folder, options.smaller_side, options.center_crop)
    written = _write(catalog, resizer, config.data.workers, strict=config.data.strict)
    bad = [result for result in written if result.moments is None]
    for result in bad[:MOST_NAMED]:
        log().warning(f"left out: {_complaint(catalog, result)}")
    if len(bad) > MOST_NAMED:
        log().warning(f"left out: {len(bad) - MOST_NAMED} more, all of them in {folder / 'skipped.csv'}")
    counts = write_tables(catalog, written, folder)
    small = [result for result in written if result.moments is not None and result.smaller_side < options.smaller_side]
    write_note(folder, NOTE, settings, {"images": counts, "enlarged": len(small)}, complete=True)
    if small:
        log().warning(_of_enlarged(catalog, small, options.smaller_side))
    mean, std = read_mean_std(folder / MEAN_STD)
    log().info(f"measured  mean {' '.join(f'{value:.4f}' for value in mean)}, std {' '.join(f'{value:.4f}' for value in std)}")
    log().info(f"{'checked' if finished else 'written'}   {folder}: {describe_counts(counts)}")
    suggest_training(config, folder, counts, numbers=folder / MEAN_STD, side=options.smaller_side)
    return 0


def refuse_inside(folder: Path, root: Path) -> None:
    """Raise UserError when a new folder would lie among the images that it is made of."""
    source = root.resolve() if root.is_dir() else root.resolve().parent
    if root.is_dir() and (folder.resolve() == source or source in folder.resolve().parents):
        raise UserError(f"{folder} lies inside {root}, whose images it is made of; name a folder elsewhere")


def describe(catalog: Catalog) -> str:
    """Return how many classes there are, and how many images every split has."""
    images = describe_counts({name: len(split) for name, split in catalog.splits.items()})
    return f"{counted(len(catalog.classes), 'class', 'classes')}; {images}"


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return how many images every split has: '8 train, 1 val images', '1 test image'."""
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"{listed} {'image' if sum(counts.values()) == 1 else 'images'}"


def suggest_training(config: RunConfig, folder: Path, splits: Container[str], *, numbers: Path | None, side: int | None = None) -> None:
    """Say how to train on a new folder, where it has what training needs.

    Args:
        config: of this call.
        folder: what was written.
        splits: names of its splits.
        numbers: file of mean and standard deviation, where there is one.
        side: smaller side of all its images, in pixels, where they have one.
    """
    if "train" not in splits or "val" not in splits:
        return
    # A folder of this name here; the name alone is a source.
    command = f"python main.py --data {'./' if str(folder) in SOURCES else ''}{quote(str(folder))}"
    if numbers is not None:
        command += f" --mean_std {quote(str(numbers))}"
    height, width = usual = type(config.data)().image_size
    if config.data.image_size != usual:
        height, width = config.data.image_size
    elif side is not None and side < max(usual):
        height = width = side
    if (height, width) != usual:
        command += f" --image_size {height} {width}"
    log().info(f"next: {command}")


def _of_enlarged(catalog: Catalog, small: Sequence[Written], side: int) -> str:
    """Return one line about images that were smaller than --smaller_side."""
    least = min(small, key=lambda result: result.smaller_side)
    return (
        f"enlarged: {counted(len(small), 'image was', 'images were')} smaller than --smaller_side {side}, the smallest "
        f"{catalog.splits[least.copy.split].file(least.copy.index)} with {least.smaller_side}; enlarging adds no detail"
    )


def _complaint(catalog: Catalog, result: Written) -> str:
    return f"cannot read the image {catalog.splits[result.copy.split].file(result.copy.index)}: {result.reason}"


def _write(catalog: Catalog, resizer: Resizer, workers: int | None, *, strict: bool) -> list[Written]:
    from utils.cores import default_workers

    copies = plan_copies(catalog)
    for place in sorted({(resizer.folder / copy.target).parent for copy in copies}):
        place.mkdir(parents=True, exist_ok=True)
    results = []
    with progress_bar("images", len(copies)) as advance:
        processes = default_workers() if workers is None else workers
        for result in spread(resizer, copies, workers=processes, name=lambda copy: catalog.splits[copy.split].file(copy.index)):
            if strict and result.moments is None:
                raise UserError(_complaint(catalog, result))
            results.append(result)
            advance(1)
    return results
