"""Writes the images of --data to a new folder: smaller, split, listed, with mean and standard deviation of the channels."""

from pathlib import Path

from applications.options import Request
from dataloader.catalog import open_catalog
from dataloader.claim import claim, write_note
from dataloader.groups import read_groups
from dataloader.mean_std import read_mean_std
from dataloader.prepared import MEAN_STD, fingerprints, plan_copies, split_by_group, write_tables
from dataloader.resized import Resizer, Written
from dataloader.split import Catalog
from utils.errors import UserError
from utils.logs import log
from utils.parallel import spread
from utils.progress import progress_bar

NOTE = "prepare.json"
MOST_NAMED = 5


def run(request: Request) -> int:
    """Write the folder that --prepare names."""
    config = request.config
    folder = Path(request.subject).expanduser()
    catalog = _open(request)
    refuse_inside(folder, catalog.root)
    for note in catalog.notes:
        log().warning(note)
    options = config.prepare
    settings = {**fingerprints(catalog), "smaller_side": options.smaller_side, "center_crop": options.center_crop}
    finished = claim(folder, NOTE, settings)
    log().info(f"data      {catalog.root}: {len(catalog.classes)} classes; {describe(catalog)} images")
    log().info(f"write     {folder}: smaller side {options.smaller_side}{', centered square' if options.center_crop else ''}")
    resizer = Resizer(dict(catalog.splits), folder, options.smaller_side, options.center_crop)
    written = _write(catalog, resizer, config.data.workers, strict=config.data.strict)
    bad = [result for result in written if result.moments is None]
    for result in bad[:MOST_NAMED]:
        log().warning(f"left out: {_complaint(catalog, result)}")
    if len(bad) > MOST_NAMED:
        log().warning(f"left out: {len(bad) - MOST_NAMED} more, all of them in {folder / 'skipped.csv'}")
    counts = write_tables(catalog, written, folder)
    write_note(folder, NOTE, settings, {"images": counts}, complete=True)
    mean, std = read_mean_std(folder / MEAN_STD)
    log().info(f"measured  mean {' '.join(f'{value:.4f}' for value in mean)}, std {' '.join(f'{value:.4f}' for value in std)}")
    log().info(
        f"{'checked' if finished else 'written'}   {folder}: {', '.join(f'{count} {name}' for name, count in counts.items())} images"
    )
    log().info(f"next: python main.py --data {folder} --mean_std {folder / MEAN_STD}")
    return 0


def refuse_inside(folder: Path, root: Path) -> None:
    """Raise UserError when a new folder would lie among the images that it is made of."""
    source = root.resolve() if root.is_dir() else root.resolve().parent
    if root.is_dir() and (folder.resolve() == source or source in folder.resolve().parents):
        raise UserError(f"{folder} lies inside {root}, whose images it is made of; name a folder elsewhere")


def describe(catalog: Catalog) -> str:
    """Return how many images every split has."""
    return ", ".join(f"{len(split)} {name}" for name, split in catalog.splits.items())


def _open(request: Request) -> Catalog:
    """Return the images, split: as they are, by class, or by group."""
    data, seed = request.config.data, request.config.runtime.seed
    spec = request.config.prepare.group_by
    if spec is None:
        return open_catalog(data.data, seed=seed, val_share=data.val_share, test_share=data.test_share)
    catalog = open_catalog(data.data, whole="train")
    if len(catalog.splits) > 1 or catalog.splits["train"].name != "train":
        raise UserError(f"--group_by splits a single folder or list; {catalog.root} is split already: {', '.join(catalog.splits)}")
    groups = read_groups(spec, catalog.splits["train"].paths)
    return split_by_group(catalog, groups, seed=seed, val_share=data.val_share, test_share=data.test_share)


def _complaint(catalog: Catalog, result: Written) -> str:
    return f"cannot read the image {catalog.splits[result.copy.split].file(result.copy.index)}: {result.reason}"


def _write(catalog: Catalog, resizer: Resizer, workers: int | None, *, strict: bool) -> list[Written]:
    from utils.cores import default_workers

    copies = plan_copies(catalog)
    for place in sorted({(resizer.folder / copy.target).parent for copy in copies}):
        place.mkdir(parents=True, exist_ok=True)
    results = []
    with progress_bar("images", len(copies)) as advance:
        for result in spread(resizer, copies, workers=default_workers() if workers is None else workers):
            if strict and result.moments is None:
                raise UserError(_complaint(catalog, result))
            results.append(result)
            advance(1)
    return results
