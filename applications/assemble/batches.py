"""From files to batches on the device: preprocessing, loaders, and what is done to training batches."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from applications.assemble.caching import build_cache_policy, open_cache
from applications.assemble.image_sizes import scale_multiple, seen_sizes
from applications.assemble.machine import Machine
from applications.settings.options import RunConfig
from dataloader import MIXES
from dataloader.augment.chain import Augment, build_augment
from dataloader.augment.class_crop import ClassCrop, middle_of
from dataloader.batch.multi_scale import MultiScale
from dataloader.batch.random_mix import RandomMix
from dataloader.images.mean_std import read_mean_std
from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.loader import Loader
from dataloader.loading.sampling import expected_draws
from dataloader.loading.size_schedule import parse_sizes
from dataloader.options import DataOptions
from dataloader.splits.integrity import CachedFiles, refuse_unreadable
from dataloader.splits.split import Split
from dataloader.targets.target import Target
from models.detectors import is_object_detector
from models.find_published import find_published, published_preprocess
from utils.checkpoint import is_checkpoint, load_tensors
from utils.cores import default_workers
from utils.errors import UserError
from utils.logs import log

# Of the epochs: the last ones, in which images with boxes are not put together, and the fewest epochs that have such.
PLAIN_SHARE, MOST_PLAIN, FEWEST_WITH_PLAIN = 0.15, 15, 4


def build_preprocess(config: RunConfig, content: Mapping[str, Any] | None = None, *, white: int | None = None) -> Preprocess:
    """Return the preprocessing: image size and resize mode from the flags; mean and std from the checkpoint, else --mean_std, else
    the starting weights (published, or a checkpoint of --init_from), else ImageNet.

    `white` is that of the data, where there is no checkpoint that has its own.
    """
    if content is not None:
        numbers = Preprocess.from_dict(content["preprocess"])
        return replace(numbers, image_size=config.data.image_size, resize=config.data.resize)
    model = config.model
    published = published_preprocess(model.pretrained_name(), advprop=model.advprop) if model.pretrained else None
    numbers = {key: tuple(published[key]) for key in ("mean", "std")} if published else {}
    if config.model.init_from:
        numbers = _numbers_of_start(Path(config.model.init_from), model.arch, white, replaced=config.data.mean_std is not None)
    if config.data.mean_std is not None:
        mean, std = read_mean_std(Path(config.data.mean_std))
        numbers = {"mean": mean, "std": std}
    return Preprocess(image_size=config.data.image_size, resize=config.data.resize, white=white, **numbers).seeing(config.model.channels)


def read_augment(config: RunConfig) -> Augment:
    """Return the operations of --aug, none without it, and the crop of --crop behind them.

    Raises:
        UserError: one of them cannot be built. Ask before the images are looked for: of two mistakes, this one is found in no time.
    """
    augment = build_augment(config.data.aug or "")
    return Augment((*augment.operations, ClassCrop())) if config.truths.crop else augment


def _numbers_of_start(path: Path, arch: str, white: int | None, *, replaced: bool) -> dict[str, Any]:
    """Return mean and std of the checkpoint that a run begins from, and say so; of bare weights none, or those of a published detector.

    Args:
        path: the checkpoint.
        arch: of the network.
        white: of this run's 16-bit files; a warning is given where the weights know another one.
        replaced: whether the run has numbers of its own.
    """
    content = load_tensors(path)
    if not is_checkpoint(content):
        published = find_published(arch) if is_object_detector(arch) else None
        return {} if published is None else _said({"mean": published.mean, "std": published.std}, f"published weights of {arch}", replaced)
    start = Preprocess.from_dict(content["preprocess"])
    if None not in (white, start.white) and white != start.white:
        log().warning(
            f"--init_from {path} was trained with {start.white:,} as white in 16-bit images, this run takes {white:,}: equal values are "
            "shown to these weights with another brightness, which they have to learn again"
        )
    return _said({"mean": start.mean, "std": start.std}, f"weights of {path}", replaced)


def _said(numbers: dict[str, tuple[float, ...]], source: str, replaced: bool) -> dict[str, tuple[float, ...]]:
    """Return the numbers, and say where they come from unless they are replaced."""
    if not replaced:
        shown = (f"{name} {', '.join(f'{value:.4g}' for value in values)}" for name, values in numbers.items())
        log().info(f"          {' and '.join(shown)} come with the {source}")
    return numbers


def build_loader(
    config: RunConfig,
    split: Split,
    preprocess: Preprocess,
    machine: Machine,
    *,
    augment: Augment | None = None,
    cached: bool = False,
    tolerant: bool = False,
) -> Loader:
    """Return the loader of a split: shuffled and augmented for training, which `augment` stands for, plain without it.

    `cached` lets --cache take effect, for a split that is read many times. A `tolerant` loader leaves unreadable images out of
    held-out batches too, unless --strict is given: for those who count them and say so.
    """
    data, training = config.data, augment is not None
    split = split.seen_by(preprocess)
    keep = build_cache_policy(data, preprocess, training=training, largest=max(max(size) for size in seen_sizes(config)))
    # Crops are at the scale of the images, which are decoded whole.
    read, on_epoch_start = partial(split.read_picture, at_least=None if config.truths.crop else keep.at_least), None
    if config.truths.crop and not training:
        read = partial(_read_middle, split, preprocess.image_size)
    if cached and data.cache != "off":
        store = open_cache(data, split, keep, machine.world)
        if data.strict or not (training or tolerant):
            # Known already, so no epoch is spent before it is said.
            refuse_unreadable(split, [ImageError(*each) for each in store.unreadable.values()])
        read = store.read_picture
        # A cache does not notice files that change later, so the first process looks for changes and warns.
        on_epoch_start = CachedFiles(split).look if machine.world.is_first else None
        split = replace(split, stamps=split.stamps[:0])
    workers = default_workers(machine.world.size) if data.workers is None else data.workers
    only_training = {} if augment is None else {"augment": augment, **training_options(config, split, preprocess)}
    return Loader(
        split,
        preprocess,
        read=read,
        batch_size=data.batch_size,
        workers=workers,
        seed=config.runtime.seed,
        shuffle=training,
        rank=machine.world.rank,
        world=machine.world.size,
        strict=data.strict,
        tolerant=tolerant and not data.strict,
        pin_memory=machine.device.type == "cuda",
        on_epoch_start=on_epoch_start,
        **only_training,
    )


def _read_middle(split: Split, size: tuple[int, int], index: int) -> Picture:
    """Return the middle of an image, of (H, W) `size`, at its own scale."""
    return middle_of(split.read_picture(index), size)


def training_options(config: RunConfig, split: Split, preprocess: Preprocess) -> dict[str, Any]:
    """Return what the loader of the training images does beside reading and augmenting them: draw, change the size."""
    data = config.data
    sizes = data.size_schedule
    plain = plain_epochs(config, split.nothing())
    return {
        "draws": None if data.sampler is None else expected_draws(data.sampler, split),
        "epoch_size": data.epoch_size,
        "repeats": data.aug_repeats,
        "sizes": None if sizes is None else parse_sizes(sizes, preprocess.image_size, config.train.epochs),
        "copies": data.aug_splits,
        "plain_from": config.train.epochs - plain if plain else None,
    }


def plain_epochs(config: RunConfig, target: Target) -> int:
    """Return in how many of the last epochs no images are put together: as --plain_epochs says, else a share of a run that sees boxes.

    Raises:
        UserError: the flag is given, and the images have no boxes.
    """
    given, epochs = config.data.plain_epochs, config.train.epochs
    if not target.is_composable:
        if given:
            raise UserError(f"--plain_epochs {given} is for images with boxes; for --mixup and --cutmix see --mix_off_epochs")
        return 0
    if given is not None:
        return given
    return min(MOST_PLAIN, max(1, round(PLAIN_SHARE * epochs))) if epochs >= FEWEST_WITH_PLAIN else 0


def build_transforms(config: RunConfig, num_classes: int) -> list:
    """Return what is done to training batches on the device, in order."""
    data, seed = config.data, config.runtime.seed
    transforms: list = [MultiScale(seed, scale_multiple(config.model.arch))] if data.multi_scale else []
    chosen = {name: alpha for name, on, alpha in _mixes(data) if on}
    if chosen:
        more = {"ratio": data.mixup_ratio, "num_classes": num_classes, "seed": seed, "mode": data.mix_mode}
        mixes = [MIXES.resolve(name)(alpha=alpha, **more) for name, alpha in chosen.items()]
        until = config.train.epochs - data.mix_off_epochs if data.mix_off_epochs else None
        transforms.append(RandomMix(mixes, until=until, num_classes=num_classes, seed=seed, mode=data.mix_mode))
    return transforms


def _mixes(data: DataOptions) -> tuple[tuple[str, bool, float], ...]:
    """Return name, whether it is asked for, and alpha of every mix."""
    return ("mixup", data.mixup, data.mixup_alpha), ("cutmix", data.cutmix, data.cutmix_alpha)
