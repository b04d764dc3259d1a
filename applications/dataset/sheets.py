"""Draws sheets of images with their labels, exactly as the network sees them: augmented, fitted, mixed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from applications import assemble
from applications.assemble.caching import build_cache_policy
from applications.assemble.training_data import open_training_data
from applications.dataset.drawn_targets import pictures_of, side_of
from applications.settings.options import Request, RunConfig, run_folder_parent
from dataloader.augment.chain import Augment
from dataloader.batch.targets import labels_of
from dataloader.loading.reader import BatchReader
from dataloader.sample import Batch
from dataloader.splits.catalog import Catalog
from dataloader.splits.split import Split
from utils.drawing.images import sheet, write_png
from utils.errors import UserError
from utils.files import new_folder
from utils.logs import log
from utils.randomness import Stream, shuffled

ROWS, COLUMNS = 6, 8
MIXED_ROWS = 4


def run(request: Request) -> int:
    """Write sheet.png, and mixed.png where batches are mixed or resized, into a folder of their own."""
    config = request.config
    augment = assemble.read_augment(config)
    catalog = open_training_data(config, assemble.single_process(), None)
    if request.subject not in catalog.splits:
        raise UserError(f"--visual_data {request.subject}: {catalog.root} has {', '.join(catalog.splits)} images")
    split = catalog.splits[request.subject]
    training = request.subject == "train"
    folder = new_folder(run_folder_parent(config.output, "visual_data"), config.output.name or request.subject)
    files = [draw_samples(config, catalog, split, folder / "sheet.png", augment=augment if training else None)]
    transforms = assemble.build_transforms(config, len(catalog.classes)) if training else []
    if transforms:
        files.append(draw_mixed(config, catalog, split, augment, transforms, folder / "mixed.png"))
    if training and not config.data.aug:
        log().info("no augmentation is asked for: the rows show the same image; add --aug, or --aug_config FILE")
    log().info(f"written   {', '.join(map(str, files))}")
    return 0


def draw_samples(config: RunConfig, catalog: Catalog, split: Split, path: Path, *, augment: Augment | None) -> Path:
    """Write a sheet: of training images a row each, first as they are, then as the first epochs see them; else many images.

    --limit says how many.
    """
    usual = ROWS if augment is not None else ROWS * COLUMNS
    chosen = choose(split, config.look.limit or usual, seed=config.runtime.seed)
    plain = open_reader(config, split, None)
    originals = read(plain, 0, chosen)
    shown = pictures_of(originals, catalog.target, catalog.classes)
    if augment is None:
        captions = [caption_of(catalog, split, index) for index in chosen.tolist()]
        write_png(sheet(shown, captions, columns=COLUMNS, side=side_of(catalog.target)), path)
        return path
    reader = open_reader(config, split, augment)
    epochs = [augmented_pictures(read(reader, epoch, chosen), catalog) for epoch in range(COLUMNS - 1)]
    images, captions = [], []
    for row, index in enumerate(chosen.tolist()):
        images.append(shown[row])
        captions.append(caption_of(catalog, split, index))
        for epoch, seen in enumerate(epochs, start=1):
            images.append(seen[row])
            captions.append(f"epoch {epoch}, {seen[row].shape[0]}x{seen[row].shape[1]}")
    write_png(sheet(images, captions, columns=COLUMNS, side=side_of(catalog.target)), path)
    return path


def draw_mixed(config: RunConfig, catalog: Catalog, split: Split, augment: Augment, transforms: Sequence, path: Path) -> Path:
    """Write a sheet of training batches after all that is done to whole batches, a row a batch, with the shares of their targets."""
    reader = open_reader(config, split, augment)
    order = shuffled(len(split), Stream.ORDER, config.runtime.seed, 0)
    images, captions = [], []
    for step in range(MIXED_ROWS):
        batch = read(reader, 0, order[(np.arange(COLUMNS) + step * COLUMNS) % len(order)])
        for transform in transforms:
            batch = transform(batch, step, 0)
        images += pictures_of(batch, catalog.target, catalog.classes)[:COLUMNS]
        size = f"{batch.images.shape[2]}x{batch.images.shape[3]}\n" if config.data.multi_scale else ""
        labels = [""] * COLUMNS if split.truths is not None else [label_of(catalog, each.numpy()) for each in labels_of(batch.targets)]
        captions += [f"{size}{label}" for label in labels[: min(COLUMNS, len(batch))]]
    if config.data.multi_scale:
        images = on_equal_paper(images)
    write_png(sheet(images, captions, columns=COLUMNS, side=side_of(catalog.target)), path)
    return path


def on_equal_paper(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return images (h, w, 3) in the middle of white paper of one size, so that a sheet shows how large they are."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    papers = []
    for image in images:
        paper = np.full((height, width, 3), 255, dtype=np.uint8)
        top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
        paper[top : top + image.shape[0], left : left + image.shape[1]] = image
        papers.append(paper)
    return papers


def open_reader(config: RunConfig, split: Split, augment: Augment | None) -> BatchReader:
    """Return what reads batches of a split as training does, or without `augment` as validation does."""
    # A sheet shows pixels before they are normalized, whatever weights a training would begin with.
    preprocess = assemble.build_preprocess(config.override({"init_from": None}), white=split.white)
    keep = build_cache_policy(config.data, preprocess, training=augment is not None)
    read_pixels = partial(split.read_picture, at_least=None if config.truths.crop else keep.at_least)
    if augment is None:
        return BatchReader(split, read_pixels, preprocess, Augment(), config.runtime.seed, tolerant=False)
    options = assemble.training_options(config, split, preprocess)
    sizes, copies = options["sizes"], options["copies"]
    return BatchReader(split, read_pixels, preprocess, augment, config.runtime.seed, tolerant=False, sizes=sizes, copies=copies)


def read(reader: BatchReader, epoch: int, indices: np.ndarray) -> Batch:
    """Return the batch of these images in an epoch."""
    batch = reader[epoch, epoch, indices, np.zeros_like(indices), 0]
    if isinstance(batch, UserError):
        raise batch
    assert isinstance(batch, Batch), "a reader without slots hands over the batch itself"
    return batch


def augmented_pictures(batch: Batch, catalog: Catalog) -> list[np.ndarray]:
    """Return the pictures of the augmented images of a batch, which has clean ones before them where there are several copies."""
    return pictures_of(batch, catalog.target, catalog.classes)[-(len(batch) // batch.copies) :]


def caption_of(catalog: Catalog, split: Split, index: int) -> str:
    """Return the labels of an image; of one with a mask or boxes, its name."""
    return Path(split.paths[index]).name if split.truths is not None else label_of(catalog, split.targets[index])


def choose(split: Split, count: int, *, seed: int) -> np.ndarray:
    """Return `count` images of as many classes as there are, int64; which ones follows from the seed."""
    order = shuffled(len(split), Stream.ORDER, seed, 0)
    classes = split.targets if split.targets.ndim == 1 else split.targets.argmax(1)
    # A first image of every class, then a second one, and so on.
    seen: dict[int, int] = {}
    rounds = []
    for label in classes[order].tolist():
        rounds.append(seen.get(label, 0))
        seen[label] = rounds[-1] + 1
    first = order[np.argsort(rounds, kind="stable")][:count]
    return first[np.argsort(classes[first], kind="stable")]


def label_of(catalog: Catalog, target: np.ndarray | np.int64) -> str:
    """Return the name of a class, or those of the labels of an image; shared targets with their shares, a line each."""
    if np.ndim(target) == 0:
        return catalog.classes[int(target)]
    shares = np.asarray(target)
    parts = sorted(((float(shares[index]), index) for index in np.flatnonzero(shares > 0.005).tolist()), reverse=True)
    if all(share > 0.995 for share, _ in parts):
        return ", ".join(catalog.classes[index] for _, index in parts) or "no label"
    return "\n".join(f"{share:.0%} {catalog.classes[index]}" for share, index in parts[:2])
