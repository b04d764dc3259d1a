"""The one wiring diagram: settings in, objects out. Everything is built here, once."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from applications.caching import build_keep, open_cache
from applications.contract import Task
from applications.options import RunConfig
from applications.tasks import TASKS
from criterions.priors import first_probabilities, prior_logits
from criterions.weighted import Criterion, build_criterion, build_elementwise
from dataloader import MIXES
from dataloader.augment.chain import build_augment
from dataloader.batch.choice import Choice
from dataloader.batch.multi_scale import MultiScale, possible_sizes
from dataloader.catalog import Catalog, Split
from dataloader.loader import Loader
from dataloader.mean_std import read_mean_std
from dataloader.options import DataOptions
from dataloader.preprocess import Preprocess
from dataloader.sampling import expected_draws
from dataloader.sizes import parse_sizes
from models import build_model
from models.backbone import Backbone
from models.batchnorm import set_bn_momentum
from models.narrow import apply_plan, channel_plan
from models.published import published_preprocess
from models.weights import load_published, load_state
from optim.clip import build_clip
from optim.ema import Ema
from optim.groups import freeze
from optim.optimizers import build_optimizer
from optim.penalties import build_sparsity
from optim.plateau import Plateau
from optim.sam import checked_radius
from optim.schedules import Schedule, build_schedule
from optim.stepper import Stepper
from optim.swa import Swa, held_from, start_epoch
from utils.checkpoint import load_tensors
from utils.cores import default_workers
from utils.distributed import World, open_world, world_from_environment
from utils.errors import UserError, shorten
from utils.logs import log
from utils.runtime import Precision, choose_device, choose_precision, keep_freed_memory

PRETRAINED = Path("pretrained")
ONE_LABEL, SEVERAL_LABELS = "classify", "multilabel"


@dataclass(frozen=True)
class Machine:
    """Where this process computes, beside which others, in which precision."""

    world: World
    device: torch.device
    precision: Precision

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes."""
        return torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.name != "fp32")


def exact() -> Precision:
    """Return the precision of answers that are to be exact rather than fast."""
    return Precision("fp32", True, "exact answers; --precision changes it")


def open_machine(config: RunConfig, *, training: bool) -> Machine:
    """Join the other processes and choose device and precision.

    Outside training, auto means fp32: answers are to be exact rather than fast.
    """
    world = world_from_environment()
    runtime = config.runtime
    device = choose_device(runtime.device, world.local_rank)
    if runtime.gpus and device.type != "cuda":
        raise UserError(f"--gpus {runtime.gpus}: PyTorch sees no GPU here; --nproc {runtime.gpus} starts processes on the CPU")
    open_world(world, cuda=device.type == "cuda")
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda" and training:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if not training and runtime.precision == "auto":
        return Machine(world, device, exact())
    smallest = min(min(size) for size in seen_sizes(config))
    return Machine(world, device, choose_precision(runtime.precision, device, smallest=smallest))


def alone() -> World:
    """Return the world of a single process."""
    return World()


def check_num_classes(given: int | None, classes: tuple[str, ...]) -> None:
    """Raise UserError when --num_classes contradicts the data."""
    if given is not None and given != len(classes):
        raise UserError(f"--num_classes {given}: the data has {len(classes)} classes ({shorten(classes)}); leave the flag out to take them")


def build_preprocess(config: RunConfig, content: Mapping[str, Any] | None = None) -> Preprocess:
    """Return geometry from the flags, and the numbers that belong to the weights: of a checkpoint, --mean_std, published, ImageNet's."""
    if content is not None:
        numbers = Preprocess.from_dict(content["preprocess"])
        return replace(numbers, image_size=config.data.image_size, resize=config.data.resize)
    published = published_preprocess(config.model.arch) if config.model.pretrained else None
    numbers = {key: tuple(published[key]) for key in ("mean", "std")} if published else {}
    if config.data.mean_std is not None:
        mean, std = read_mean_std(Path(config.data.mean_std))
        numbers = {"mean": mean, "std": std}
    return Preprocess(image_size=config.data.image_size, resize=config.data.resize, **numbers)


def build_loader(
    config: RunConfig, split: Split, preprocess: Preprocess, machine: Machine, *, training: bool, cached: bool = False
) -> Loader:
    """Return the loader of a split: augmented and shuffled for training, plain otherwise.

    `cached` lets --cache take effect, for a split that is read many times.
    """
    data = config.data
    keep = build_keep(data, preprocess, training=training, largest=max(max(size) for size in seen_sizes(config)))
    read = partial(split.read, at_least=keep.at_least)
    if cached and data.cache != "off":
        read = open_cache(data, split, keep, machine.world).read
        # The cache has the pixels of its making, whatever happens to the files.
        split = replace(split, stamps=split.stamps[:0])
    workers = default_workers(machine.world.size) if data.workers is None else data.workers
    only_training = {} if not training else training_options(config, split, preprocess)
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
        pin_memory=machine.device.type == "cuda",
        **only_training,
    )


def training_options(config: RunConfig, split: Split, preprocess: Preprocess) -> dict[str, Any]:
    """Return what the loader of the training images does beside reading them: augment, draw, change the size."""
    data = config.data
    sizes = data.size_schedule
    return {
        "augment": build_augment(data.aug or ""),
        "draws": None if data.sampler is None else expected_draws(data.sampler, split),
        "epoch_size": data.epoch_size,
        "sizes": None if sizes is None else parse_sizes(sizes, preprocess.image_size, config.train.epochs),
        "splits": data.aug_splits,
    }


def build_transforms(config: RunConfig, num_classes: int) -> list:
    """Return what is done to training batches on the device, in order."""
    data, seed = config.data, config.runtime.seed
    transforms: list = [MultiScale(seed)] if data.multi_scale else []
    chosen = {name: alpha for name, on, alpha in _mixes(data) if on}
    if chosen and data.aug_splits > 1:
        raise UserError("--aug_splits compares copies of one image, which --mixup and --cutmix blend with others; leave one of them out")
    if chosen:
        mixes = [
            MIXES.resolve(name)(alpha=alpha, ratio=data.mixup_ratio, num_classes=num_classes, seed=seed) for name, alpha in chosen.items()
        ]
        until = config.train.epochs - data.mix_off_epochs if data.mix_off_epochs else None
        transforms.append(Choice(mixes, until=until, num_classes=num_classes, seed=seed))
    return transforms


def _mixes(data: DataOptions) -> tuple[tuple[str, bool, float], ...]:
    """Return name, whether it is asked for, and alpha of every mix."""
    return ("mixup", data.mixup, data.mixup_alpha), ("cutmix", data.cutmix, data.cutmix_alpha)


def seen_sizes(config: RunConfig) -> list[tuple[int, int]]:
    """Return the image sizes that a network must take: that of validation, and those that training gives it."""
    data = config.data
    sizes = [data.image_size]
    if data.size_schedule is not None:
        sizes = parse_sizes(data.size_schedule, data.image_size, config.train.epochs).all()
    return [*sizes, *(found for size in sizes for found in possible_sizes(size))] if data.multi_scale else sizes


def task_name(catalog: Catalog) -> str:
    """Return the row of TASKS that the targets ask for."""
    return SEVERAL_LABELS if catalog.several else ONE_LABEL


def build_task(
    config: RunConfig,
    classes: tuple[str, ...],
    preprocess: Preprocess,
    device: torch.device,
    *,
    name: str = ONE_LABEL,
    class_counts: Sequence[float] | None = None,
) -> Task:
    """Return the task: what a batch means, and what a wrong answer costs.

    Without the training images of every class it measures but does not train: weighters and their files are left out.
    """
    spec = config.loss.spec()
    if class_counts is None:
        criterion = Criterion(build_elementwise(spec[0]))
    else:
        criterion = build_criterion(
            spec,
            classes=classes,
            class_counts=class_counts,
            label_smoothing=config.loss.label_smoothing,
            logit_adjust=config.loss.logit_adjust,
            jsd=config.loss.jsd,
        )
    return TASKS.resolve(name)(classes, criterion, preprocess, device)


def count_classes(split: Split, num_classes: int) -> list[float]:
    """Return the images of every class; shared targets count by their shares."""
    if split.targets.ndim == 2:
        return split.targets.sum(0, dtype=np.float64).tolist()
    return np.bincount(split.targets, minlength=num_classes).astype(np.float64).tolist()


def build_network(
    config: RunConfig, classes: tuple[str, ...], steps_per_epoch: int, class_counts: Sequence[float], *, images: int
) -> nn.Module:
    """Return the network with its starting weights, on the CPU.

    The seed decides the random ones, so equal settings start equal on every process.
    """
    model_options = config.model
    torch.manual_seed(config.runtime.seed)
    model = build_model(model_options.arch, num_classes=len(classes), drop_rate=model_options.drop_rate)
    check_sizes(model, config)
    if config.loss.prior_bias is not None:
        # Before weights are loaded, so that a classifier that was trained on these classes keeps its bias.
        _start_at_prior(model, config, classes, class_counts, images)
    if model_options.pretrained:
        log().info(str(load_published(model, model_options.arch, folder=PRETRAINED, announce=log().info)))
    if model_options.init_from:
        path = Path(model_options.init_from)
        tensors = load_tensors(path)
        if isinstance(tensors, dict) and "channels" in tensors:
            apply_plan(model, tensors["channels"], classifier=model.get_classifier())
        head = model.get_classifier()
        fresh = {name: value.clone() for name, value in head.state_dict().items()}
        log().info(str(load_state(model, tensors, source=str(path))))
        known = tuple(tensors.get("classes", ())) if isinstance(tensors, dict) else ()
        if len(known) == len(classes) and known != classes:
            log().info(f"          {sort_rows(head, fresh, known=known, wanted=classes)}")
    changed = set_bn_momentum(model, model_options.bn_momentum, steps_per_epoch=steps_per_epoch)
    if changed:
        log().info(f"          {changed}")
    if config.optim.freeze:
        log().info(f"          {freeze(model, config.optim.freeze, head=find_head(model))}")
    return model


def check_sizes(model: Backbone, config: RunConfig) -> None:
    """Raise UserError unless the network takes every size that it will see."""
    model.check_size(config.data.image_size)
    for size in dict.fromkeys(seen_sizes(config)):
        try:
            model.check_size(size)
        except UserError as error:
            raise UserError(f"{error}; leave --multi_scale and --size_schedule out, or choose sizes that it takes") from error


def sort_rows(head: nn.Module, fresh: Mapping[str, Tensor], *, known: Sequence[str], wanted: Sequence[str]) -> str:
    """Give every class the row that a loaded classifier has for its name, or a fresh one; return one line that says so.

    Args:
        head: the classifier, with the rows of `known`.
        fresh: its tensors as they were before.
        known, wanted: names of the classes, equally many.
    """
    rows = {name: row for row, name in enumerate(known)}
    new = [name for name in wanted if name not in rows]
    with torch.no_grad():
        for name, value in head.state_dict().items():
            loaded = value.clone()
            for row, label in enumerate(wanted):
                value[row] = loaded[rows[label]] if label in rows else fresh[name][row]
    return f"the classifier's rows follow the names of the classes; {shorten(new) or 'none'} begin{'s' if len(new) == 1 else ''} anew"


def _start_at_prior(model: Backbone, config: RunConfig, classes: tuple[str, ...], class_counts: Sequence[float], images: int) -> None:
    """Set the classifier's bias to the logits of --prior_bias, for the images of every class out of all."""
    wish = config.loss.prior_bias
    assert wish is not None
    bias = model.get_classifier().bias
    if bias is None:
        raise UserError(f"--prior_bias: the classifier of {config.model.arch} has no bias; leave the flag out")
    activation = build_elementwise(config.loss.spec()[0]).activation
    logits = prior_logits(first_probabilities(wish, classes=classes, counts=class_counts, images=images), activation)
    with torch.no_grad():
        bias.copy_(torch.from_numpy(logits))


def build_run_schedule(config: RunConfig, steps_per_epoch: int) -> Schedule:
    """Return the learning rate over the run."""
    options = config.optim
    schedule = build_schedule(
        options.schedule,
        epochs=config.train.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup=options.warmup,
        lr_ratios=options.lr_ratios,
        lr_steps=options.lr_steps,
    )
    if options.swa is None or isinstance(schedule, Plateau):
        return schedule
    return held_from(schedule, start_epoch(options.swa, config.train.epochs) * steps_per_epoch)


def count_steps(config: RunConfig, batches_per_epoch: int) -> int:
    """Return the optimizer steps of an epoch."""
    return max(1, -(-batches_per_epoch // config.optim.accumulate))


def build_stepper(
    config: RunConfig,
    model: nn.Module,
    wrapped: nn.Module,
    machine: Machine,
    batches_per_epoch: int,
    *,
    schedule: Schedule | None = None,
    beside: nn.Module | None = None,
) -> Stepper:
    """Return the only writer of weights; `schedule` takes the place of the run's own, `beside` learns with the model."""
    options = config.optim
    steps_per_epoch = count_steps(config, batches_per_epoch)
    swa_from = start_epoch(options.swa, config.train.epochs) * steps_per_epoch if options.swa is not None else None
    return Stepper(
        wrapped,
        build_network_optimizer(config, model, beside),
        schedule or build_run_schedule(config, steps_per_epoch),
        device_type=machine.device.type,
        precision=machine.precision.name,
        clip=build_clip(options.clip_mode, options.clip_grad, head=find_head(model)) if options.clip_grad is not None else None,
        sam=checked_radius(options.sam) if options.sam is not None else None,
        ema=Ema(model, decay=options.ema) if options.ema is not None else None,
        swa=Swa(start_step=swa_from, every=steps_per_epoch) if swa_from is not None else None,
        bare=model,
        beside=beside,
        penalties=[build_sparsity(options.slim)] if options.sparsity else [],
    )


def build_network_optimizer(config: RunConfig, model: nn.Module, beside: nn.Module | None = None) -> Optimizer:
    """Return the optimizer over the parameters of the network, and of what stands beside it, that learn."""
    options = config.optim
    return build_optimizer(
        options.opt,
        model,
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        opt_args=options.opt_args,
        head=find_head(model),
        head_lr=options.head_lr,
        layer_decay=options.layer_decay,
        beside=beside,
    )


def find_head(model: nn.Module) -> nn.Module:
    """Return the classifier of a network of the model shelf."""
    assert isinstance(model, Backbone)
    return model.get_classifier()


def wrap_network(config: RunConfig, model: nn.Module, machine: Machine) -> nn.Module:
    """Return the network as training calls it: compiled and distributed when asked for."""
    if config.runtime.compile:
        # In place, so that the names in the checkpoint stay bare.
        model.compile()
    if machine.world.size == 1:
        return model
    devices = [machine.device] if machine.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def synchronized(model: nn.Module) -> nn.Module:
    """Return the model with synchronized batch norms in place of plain ones.

    torch's own converter drops the activation that timm's layers carry beside their norm; timm's keeps it.
    """
    from timm.layers.norm_act import convert_sync_batchnorm

    return convert_sync_batchnorm(model)


def prepare_sync_bn(model: nn.Module, machine: Machine) -> nn.Module:
    """Return the model with batch-norm layers that count over all GPUs.

    Raises:
        UserError: the run is not on GPUs; torch has the layer for them alone.
    """
    if machine.device.type != "cuda":
        raise UserError("--sync_bn works on GPUs only; leave it out on the CPU")
    return synchronized(model)


def snapshot(
    config: RunConfig,
    task: Task,
    model: nn.Module,
    stepper: Stepper,
    teaching: Mapping[str, Any],
    catalog: Catalog,
    preprocess: Preprocess,
    prints: str,
) -> dict:
    """Return everything a checkpoint holds besides the progress: plain types and tensors."""
    return {
        "task": task.name,
        "arch": config.model.arch,
        "num_classes": len(catalog.classes),
        "classes": list(catalog.classes),
        "preprocess": preprocess.to_dict(),
        "criterion": config.loss.canonical(),
        "channels": channel_plan(model),
        "state_dict": model.state_dict(),
        "state_dict_ema": stepper.averages(),
        "averaging": "EMA" if stepper.averages() is not None else None,
        "stepper": stepper.state_dict(),
        "loss_state": task.criterion.state_dict(),
        "temperature": task.temperature,
        "teaching": teaching,
        "thresholds": None if task.thresholds is None else list(task.thresholds),
        "reject": None,
        "config": config.to_dict(),
        "data_fingerprint": prints,
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }
