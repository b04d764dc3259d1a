"""The training step: the learning rate over the run, the optimizer, and the stepper that applies both."""

from collections.abc import Callable, Collection
from functools import partial

from torch import nn
from torch.optim import Optimizer

from applications.assemble.machine import Machine
from applications.assemble.network import find_classifier, find_head
from applications.settings.options import OptimOptions, RunConfig
from models.backbone import Network
from optim.adahessian import AdaHessian
from optim.clip import build_clip
from optim.ema import Ema
from optim.lookahead import without_lookahead
from optim.noise import read_noise
from optim.optimizers import build_optimizer
from optim.penalties import build_sparsity
from optim.plateau import Plateau
from optim.sam import checked_radius
from optim.schedules import Schedule, build_schedule
from optim.stepper import Stepper
from optim.swa import Swa, start_epoch
from utils.errors import UserError


def count_steps(optim: OptimOptions, batches_per_epoch: int) -> int:
    """Return the optimizer steps of an epoch."""
    return max(1, -(-batches_per_epoch // optim.accumulate))


def build_run_schedule(config: RunConfig, steps_per_epoch: int) -> Schedule:
    """Return the learning rate over the run."""
    options = config.optim
    return build_schedule(
        options.schedule,
        epochs=config.train.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup=options.warmup,
        lr_ratios=options.lr_ratios,
        lr_steps=options.lr_steps,
        lr=options.lr,
        warmup_lr=options.warmup_lr,
        cooldown=options.cooldown,
        noise=read_noise(options.lr_noise, seed=config.runtime.seed),
        hold_from=None if options.swa is None else start_epoch(options.swa, config.train.epochs) * steps_per_epoch,
    )


def check_watched(schedule: Schedule, figures: Collection[str]) -> None:
    """Raise UserError for a schedule that waits for a figure that validation does not have."""
    if isinstance(schedule, Plateau):
        schedule.check(figures)


def _at_position(step: float, *, schedule: Schedule, position: Callable[[int], float]) -> float:
    return schedule(position(int(step)))


def build_network_optimizer(options: OptimOptions, model: nn.Module, extra_modules: nn.Module | None = None) -> Optimizer:
    """Return the optimizer over the parameters of the network, and of what stands beside it, that learn."""
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
        extra_modules=extra_modules,
        no_decay=model.no_weight_decay() if isinstance(model, Network) else (),
    )


def _check_second_order(config: RunConfig, machine: Machine) -> None:
    """Raise UserError for what cannot pass backward through a gradient."""
    for flag, given, remedy in (
        ("--sam", config.optim.sam is not None, "leave one of them out"),
        ("--precision fp16", machine.precision.name == "fp16", "add --precision fp32"),
        ("--compile", config.runtime.compile != "off", "leave one of them out"),
        ("--checkpointing", config.runtime.checkpointing, "leave one of them out"),
        ("several processes", machine.world.size > 1, "leave --nproc, --gpus and --nodes out"),
    ):
        if given:
            raise UserError(f"--opt {config.optim.opt} passes backward through the gradient, which {flag} cannot; {remedy}")


def build_stepper(
    config: RunConfig,
    model: nn.Module,
    wrapped: nn.Module,
    machine: Machine,
    batches_per_epoch: int,
    *,
    schedule: Schedule | None = None,
    position: Callable[[int], float] | None = None,
    extra_modules: nn.Module | None = None,
    figures: Collection[str] | None = None,
) -> Stepper:
    """Return the only writer of weights.

    Args:
        config: the settings.
        model: the bare network.
        wrapped: as training calls it.
        machine: where it computes.
        batches_per_epoch: of one process.
        schedule: takes the place of the run's own.
        position: steps made -> the step by which the run's own schedule goes; None for the same.
        extra_modules: learns with the model.
        figures: what validation will answer; None where nothing is validated.

    Raises:
        UserError: settings of the step that cannot work, or a schedule that waits for another figure.
    """
    options = config.optim
    steps_per_epoch = count_steps(options, batches_per_epoch)
    swa_from = start_epoch(options.swa, config.train.epochs) * steps_per_epoch if options.swa is not None else None
    chosen = build_run_schedule(config, steps_per_epoch) if schedule is None else schedule
    if schedule is None and position is not None and not isinstance(chosen, Plateau):
        chosen = partial(_at_position, schedule=chosen, position=position)
    if figures is not None:
        check_watched(chosen, figures)
    optimizer = build_network_optimizer(options, model, extra_modules)
    if isinstance(without_lookahead(optimizer), AdaHessian):
        _check_second_order(config, machine)
    return Stepper(
        wrapped,
        optimizer,
        chosen,
        device_type=machine.device.type,
        precision=machine.precision.name,
        clip=build_clip(options.clip_mode, options.clip_grad, head=find_classifier(model)) if options.clip_grad is not None else None,
        sam=checked_radius(options.sam) if options.sam is not None else None,
        ema=Ema(model, decay=options.ema) if options.ema is not None else None,
        swa=Swa(start_step=swa_from, every=steps_per_epoch) if swa_from is not None else None,
        bare=model,
        extra_modules=extra_modules,
        penalties=[build_sparsity(options.slim)] if options.sparsity else [],
    )
