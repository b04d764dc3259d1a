"""Writes the images of --data, as they are, into tar archives of the WebDataset kind."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from applications.dataset.written_data import describe, refuse_inside, refuse_positions, suggest_training
from applications.settings.commands import check_command
from applications.settings.options import Request
from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.shards import MANIFEST
from dataloader.splits.integrity import stamp
from dataloader.writers.prepared import MEAN_STD, fingerprints
from dataloader.writers.resumable_folder import begin_or_continue, write_note
from dataloader.writers.shards import ShardWriter, manifest, plan_shards
from utils.cores import default_workers
from utils.logs import log
from utils.parallel import parallel_map
from utils.progress_bar import progress_bar
from utils.text import counted

MEGABYTE = 1_000_000


def run(request: Request) -> int:
    """Write the folder that --shard names."""
    config = request.config
    data, seed = config.data, config.split_seed
    folder = Path(request.subject).expanduser()
    catalog = open_catalog(
        data.data, seed=seed, val_share=data.val_share, test_share=data.test_share, group_by=data.group_by, require_train=False
    )
    # With sizes, so that archives of other images than these are not taken for finished ones.
    catalog = replace(catalog, splits={name: stamp(split) for name, split in catalog.splits.items()})
    refuse_positions(catalog, "--shard")
    refuse_inside(folder, catalog.root)
    for note in catalog.notes:
        log().warning(note)
    empty = [split.file(index) for split in catalog.splits.values() for index in np.flatnonzero(split.stamps[:, 0] == 0).tolist()]
    if empty:
        log().warning(f"{counted(len(empty), 'file is', 'files are')} empty, such as {empty[0]}; files are packed as they are")
    settings = {**fingerprints(catalog), "seed": seed, "shard_size": config.prepare.shard_size}
    begin_or_continue(folder, MANIFEST, settings)
    log().info(f"data      {catalog.root}: {describe(catalog)}")
    if all(split.store is None for split in catalog.splits.values()):
        log().info(f"          packed as they are; {check_command(config)} tells which cannot be read")
    limit = int(config.prepare.shard_size * MEGABYTE)
    shards = [shard for split in catalog.splits.values() for shard in plan_shards(split, limit=limit, seed=seed)]
    writer = ShardWriter(dict(catalog.splits), catalog.classes, folder)
    workers = default_workers() if data.workers is None else data.workers
    facts = []
    with progress_bar("archives", len(shards)) as advance:
        for each in parallel_map(writer, shards, workers=workers, chunk=1, name=lambda shard: shard.file):
            facts.append(each)
            advance(1)
    write_note(folder, MANIFEST, settings, manifest(catalog, facts), complete=True)
    size = sum(each.bytes for each in facts) / MEGABYTE
    log().info(f"written   {folder}: {counted(len(facts), 'archive')}, {size:.1f} MB, and {MANIFEST}")
    beside = catalog.root / MEAN_STD
    numbers = Path(data.mean_std) if data.mean_std is not None else beside if beside.is_file() else None
    suggest_training(config.data, folder, catalog.splits, numbers=numbers)
    return 0
