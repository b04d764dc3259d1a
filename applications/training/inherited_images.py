"""The training images of the models that a run starts from or learns from, so that leaks into its held-out
images are found.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from applications.assemble.seen_images import NONE, Seen, read_beside, read_seen
from applications.settings.options import RunConfig
from applications.sidecars.apply import sidecar_folder
from applications.trained.exported import is_exported
from dataloader.sidecars.curriculum_file import CURRICULUM
from dataloader.sidecars.format import read_facts
from dataloader.sidecars.knowledge_file import find_knowledge
from dataloader.splits.catalog import Catalog
from dataloader.splits.content_hash import NOTHING, content_hashes, count_known
from dataloader.splits.split import Split
from utils.checkpoint import BEST, find_checkpoint, load_tensors
from utils.logs import log

SAME_SPLIT = "give this run the data and the split of that one (--data, --seed), or begin with weights that have not seen them"


def training_image_hashes(config: RunConfig, catalog: Catalog, train_split: Split, content: Mapping[str, Any] | None) -> Seen:
    """Return which images a run is trained on, with those of its parents; warn where held-out images are among the latter.

    Args:
        config: of the run.
        catalog: its images.
        train_split: the training images with their weights; those that weigh nothing teach nothing.
        content: of the checkpoint that the run goes on from, or None.
    """
    before = read_seen(content) or Seen(NONE, NONE)
    own = np.union1d(before.own, _known(content_hashes(train_split, np.flatnonzero(train_split.weights > 0).tolist())))
    parents = before.parents
    held_out = {name: split for name, split in catalog.splits.items() if name != "train"}
    hashes: dict[str, np.ndarray] = {}
    for name, read in _parents(config, catalog, fresh=content is None):
        found = read()
        if found is None:
            log().info(f"          {name} does not say which images it was trained on; held-out ones may be among them")
            continue
        hashes = hashes or {split: content_hashes(images) for split, images in held_out.items()}
        counts = {split: count_known(of_split, found) for split, of_split in hashes.items()}
        if any(counts.values()):
            said = " and ".join(f"{count} of {len(hashes[split])} {split} images" for split, count in counts.items() if count)
            log().warning(f"leakage: {name} was trained on {said} of this run; their figures are too good: {SAME_SPLIT}")
        parents = np.union1d(parents, found)
    return Seen(own, parents)


def _known(hashes: np.ndarray) -> np.ndarray:
    return np.unique(hashes[hashes != NOTHING])


def _parents(config: RunConfig, catalog: Catalog, *, fresh: bool) -> Iterator[tuple[str, Callable[[], np.ndarray | None]]]:
    """Yield what a run learns from besides its images: a name for messages, and what reads its hashes."""
    if fresh and config.model.init_from:
        yield f"--init_from {config.model.init_from}", lambda: _of_file(Path(config.model.init_from or ""))
    for place in config.teach.teacher:
        yield f"--teacher {place}", lambda place=place: None if is_exported(place) else _of_file(find_checkpoint(place, BEST))
    folder = sidecar_folder(config.teach, catalog.splits["train"])
    if config.teach.distill:
        for file in find_knowledge(folder):
            # label.txt holds the data's own labels, not a model's answers.
            if read_facts(file).get("teacher") != "labels":
                yield f"the teacher of {file}", lambda file=file: read_beside(file)
    if config.teach.curriculum_learning:
        yield f"the model behind {folder / CURRICULUM}", lambda: read_beside(folder / CURRICULUM)


def _of_file(path: Path) -> np.ndarray | None:
    seen = read_seen(load_tensors(path))
    return None if seen is None else seen.everything()
