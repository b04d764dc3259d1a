"""Writes the images of --data to a new folder: smaller, split, listed, with mean and standard deviation of the channels."""

from collections.abc import Sequence
from pathlib import Path

from applications.assemble.sixteen_bit_range import scale_sixteen_bit_range
from applications.dataset.written_data import describe, describe_counts, refuse_inside, refuse_positions, suggest_training
from applications.settings.options import Request
from dataloader.images.mean_std import read_mean_std
from dataloader.opening.open_catalog import open_catalog
from dataloader.splits.catalog import Catalog
from dataloader.writers.prepared import MEAN_STD, fingerprints, plan_copies, write_tables
from dataloader.writers.resized import Resizer, ResizeResult
from dataloader.writers.resumable_folder import begin_or_continue, write_note
from utils.errors import UserError
from utils.logs import log
from utils.parallel import parallel_map
from utils.progress_bar import progress_bar
from utils.text import counted

NOTE = "prepare.json"
MOST_NAMED = 5


def run(request: Request) -> int:
    """Write the folder that --prepare names."""
    config = request.config
    folder = Path(request.subject).expanduser()
    data, seed = config.data, config.split_seed
    found = open_catalog(data.data, seed=seed, val_share=data.val_share, test_share=data.test_share, group_by=data.group_by)
    catalog = scale_sixteen_bit_range(found, data.workers)
    refuse_positions(catalog, "--prepare")
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
    suggest_training(config.data, folder, counts, numbers=folder / MEAN_STD, side=options.smaller_side)
    return 0


def _of_enlarged(catalog: Catalog, small: Sequence[ResizeResult], side: int) -> str:
    """Return one line about images that were smaller than --smaller_side."""
    least = min(small, key=lambda result: result.smaller_side)
    return (
        f"enlarged: {counted(len(small), 'image was', 'images were')} smaller than --smaller_side {side}, the smallest "
        f"{catalog.splits[least.copy.split].file(least.copy.index)} with {least.smaller_side}; enlarging adds no detail"
    )


def _complaint(catalog: Catalog, result: ResizeResult) -> str:
    return f"cannot read the image {catalog.splits[result.copy.split].file(result.copy.index)}: {result.reason}"


def _write(catalog: Catalog, resizer: Resizer, workers: int | None, *, strict: bool) -> list[ResizeResult]:
    from utils.cores import default_workers

    copies = plan_copies(catalog)
    for place in sorted({(resizer.folder / copy.destination).parent for copy in copies}):
        place.mkdir(parents=True, exist_ok=True)
    results = []
    with progress_bar("images", len(copies)) as advance:
        processes = default_workers() if workers is None else workers
        for result in parallel_map(resizer, copies, workers=processes, name=lambda copy: catalog.splits[copy.split].file(copy.index)):
            if strict and result.moments is None:
                raise UserError(_complaint(catalog, result))
            results.append(result)
            advance(1)
    return results
