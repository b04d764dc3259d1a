"""Finds a learning rate: an exponential range test on a throw-away copy of the model (arXiv 1506.01186)."""

from dataclasses import replace
from itertools import count
from math import isfinite

import torch

from applications import assemble
from applications.assemble import Machine
from applications.assemble.training_data import open_training_data
from applications.settings.options import Request, RunConfig, run_folder_parent
from applications.training.memory_advice import memory_advice
from applications.training.training_parts import for_trial, open_parts
from optim.range_test import exponential_rates, has_diverged, smoothed, suggest_rate
from utils.distributed import close_world
from utils.drawing.plots import draw_curve
from utils.errors import UserError
from utils.files import new_folder, write_csv
from utils.logs import log
from utils.progress_bar import progress_bar
from utils.randomness import Stream, derive_seed
from utils.runtime import memory_explained

STEPS = 100
# The picture ends this far below the lowest loss before the curve turns, and above the highest.
MARGIN_BELOW, MARGIN_ABOVE = 0.9, 1.3


def run(request: Request) -> int:
    """Train for at most 100 steps at rising rates; write the curve and print a rate. No model is written or changed."""
    config = request.config
    if config.train.resume:
        raise UserError("--find_lr starts from fresh weights, --pretrained or --init_from FILE; leave --resume out")
    machine = assemble.open_machine(config, training=True)
    try:
        if machine.world.size > 1:
            raise UserError("--find_lr is over in a minute on one process; leave --nproc, --gpus and --nodes out")
        rates = exponential_rates(*config.optim.lr_range, STEPS)
        with memory_explained(memory_advice(config.data)):
            losses = range_test(config, machine, rates)
    finally:
        close_world(machine.world)
    report(config, rates[: len(losses)], losses)
    return 0


def range_test(config: RunConfig, machine: Machine, rates: list[float]) -> list[float]:
    """Return the loss of one step at each rate, up to where it diverges."""
    config = replace(config, optim=replace(config.optim, sam=None, ema=None, swa=None, accumulate=1))
    augment = assemble.read_augment(config)
    catalog = open_training_data(config, machine.world, None)
    assemble.check_num_classes(config.model.num_classes, catalog.classes)
    parts = for_trial(open_parts(config, machine, catalog, augment))
    loader, teaching, progress, transforms = parts.train_loader, parts.teaching, parts.progress, parts.transforms
    peak = config.optim.lr
    stepper = parts.trial_stepper(lambda step: rates[int(step)] / peak)
    teaching.network.train()
    losses: list[float] = []
    batches = (batch for epoch in count() for batch in loader.batches(epoch))
    try:
        with progress_bar("range test", len(rates)) as advance:
            for step, batch in zip(range(len(rates)), batches, strict=False):
                batch = batch.to(machine.device)
                # A curriculum goes by epochs.
                progress.epoch = batch.epoch
                torch.manual_seed(derive_seed(Stream.MODEL, config.runtime.seed, step, 0))
                for transform in transforms:
                    batch = transform(batch, step, 0)
                with stepper.forward(sync=True):
                    result = teaching.objective(teaching.network, batch)
                losses.append(float(result.loss.detach()))
                if has_diverged(losses):
                    break
                stepper.step(result.loss, 1.0, closes_group=True)
                progress.advance(batch, result)
                advance(1)
    finally:
        loader.close()
    return losses


def shown_limits(losses: list[float], averages: list[float]) -> tuple[float, float] | None:
    """Return the losses between which the curve is drawn: from its start to its lowest point, without the end that diverges."""
    finite = [value for value in averages if isfinite(value) and value > 0]
    if not finite:
        return None
    lowest = averages.index(min(finite))
    before = [value for value in (*losses[: lowest + 1], *averages[: lowest + 1]) if isfinite(value) and value > 0]
    return MARGIN_BELOW * min(before), MARGIN_ABOVE * max(before)


def report(config: RunConfig, rates: list[float], losses: list[float]) -> None:
    """Write the curve as PNG and CSV into a folder of its own, and say what to take."""
    folder = new_folder(run_folder_parent(config.output, "find_lr"), config.output.name or "range")
    averages = smoothed(losses)
    rows = [[f"{value:.8g}" for value in row] for row in zip(rates, losses, averages, strict=True)]
    write_csv(folder / "find_lr.csv", [["lr", "loss", "smoothed_loss"], *rows])
    suggestion = suggest_rate(rates, losses)
    draw_curve(
        rates,
        {"loss of a step": losses, "smoothed": averages},
        folder / "find_lr.png",
        title=f"{config.model.arch}, {config.optim.opt}",
        xlabel="learning rate",
        ylabel="loss",
        log_x=True,
        log_y=True,
        limits=shown_limits(losses, averages),
        mark=suggestion,
    )
    log().info(f"tried     {len(rates)} rates from {rates[0]:.2g} to {rates[-1]:.2g}")
    log().info(f"loss      {losses[0]:.4f} at first, lowest average {min(averages):.4f}")
    log().info(f"written   {folder / 'find_lr.png'}, {folder / 'find_lr.csv'}")
    if suggestion is None:
        log().warning("the loss never decreases; try a wider --lr_range, or look at the curve")
    else:
        # Every part was tried at its own multiple of the rate.
        share = (config.optim.head_lr or config.optim.lr) / config.optim.lr
        head = f" --head_lr {share * float(f'{suggestion:.1g}'):.2g}" if share != 1 else ""
        log().info(f"the loss falls fastest at {suggestion:.2g}: start with --lr {suggestion:.1g}{head}")
