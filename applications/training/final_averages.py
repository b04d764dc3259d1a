"""The end of a run: the averaged weights (SWA, soup) are measured and written, and become the best if they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from applications.engine.checkpoint_saver import CheckpointSaver
from applications.engine.top_epochs import TopEpochs
from applications.settings.options import OptimOptions
from applications.training.training_parts import TrainingParts
from dataloader.sample import Batch
from optim.batchnorm_recalibration import recalibrate_norms
from optim.ema import temporarily_loaded
from optim.swa import Reached, greedy_soup, mean_of
from utils.logs import log
from utils.text import counted

SWA, SOUP = "swa", "soup"
# Statistics over this many batches no longer change in the digits that matter.
ENOUGH = 200

# What the task chose by the validation images, as checkpoints hold it.
Calibrated = Mapping[str, Any]


@dataclass(frozen=True)
class AveragingInputs:
    """What the averages of a finished run are made and measured with."""

    parts: TrainingParts
    validate: Callable[[], Mapping[str, float]]
    saver: CheckpointSaver
    # Training batches on which the statistics of a soup are counted; 0 takes their mean.
    norm_batches: int


def unfinished(optim: OptimOptions, folder: Path) -> bool:
    """Whether a run that was trained to its end still lacks an average that it asks for."""
    asked = [name for name, value in ((SWA, optim.swa), (SOUP, optim.soup)) if value is not None]
    return any(not (folder / f"{name}.pt").is_file() for name in asked)


def write_averages(ending: AveragingInputs) -> None:
    """Measure and write the averages that the run kept; say which weights are the best."""
    swa, top = ending.parts.stepper.swa, ending.saver.top
    if swa is not None:
        if swa.count:
            _write_swa(ending, swa.average(), swa.count)
        else:
            log().warning("no epoch was averaged: the run ended before --swa began")
    if top is not None:
        _write_soup(ending, top)


def _write_swa(ending: AveragingInputs, mean: Mapping[str, Tensor], count: int) -> None:
    weights = _with_fresh_norms(ending, mean, ENOUGH)
    reached, calibrated = _measure(ending, weights)
    _write(ending, SWA, f"SWA of {counted(count, 'epoch')}", weights, reached, calibrated)


def _with_fresh_norms(ending: AveragingInputs, mean: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the weights with statistics counted on `count` batches of training; the mean of statistics describes no network."""
    parts = ending.parts
    task, model, machine = parts.task, parts.model, parts.machine

    def batches() -> Iterator[Batch]:
        for number, batch in enumerate(islice(parts.train_loader.batches(parts.progress.epoch), count)):
            batch = batch.to(machine.device)
            for transform in parts.mixes:
                batch = transform(batch, number, machine.world.rank)
            yield batch

    def forward(batch: Batch) -> None:
        with machine.autocast():
            model(task.normalize(batch.images))

    with temporarily_loaded(model, mean):
        recalibrate_norms(model, batches(), forward, world=machine.world)
        return _on_cpu(model)


def _write_soup(ending: AveragingInputs, top: TopEpochs) -> None:
    # The first process has written the last epoch when all are here.
    ending.parts.machine.world.gather(None)
    ranked = top.ranked()
    if not ranked:
        log().warning("no epoch was kept for a soup: --soup was given after the last one")
        return

    def mixed(epochs: Sequence[int]) -> dict[str, Tensor]:
        mean = mean_of(top.load(epoch) for epoch in epochs)
        # An epoch alone has had its statistics counted at its end.
        return mean if len(epochs) == 1 or not ending.norm_batches else _with_fresh_norms(ending, mean, ending.norm_batches)

    chosen: dict[tuple[int, ...], tuple[dict[str, Tensor], Calibrated]] = {}

    def judge(epochs: Sequence[int]) -> Reached:
        weights = mixed(epochs)
        reached, calibrated = _measure(ending, weights)
        chosen[tuple(epochs)] = weights, calibrated
        return reached

    members, reached = greedy_soup(ranked, judge)
    log().info(f"soup      of {counted(len(ranked), 'epoch')}, {len(members)} mixed: {', '.join(map(str, sorted(members)))}")
    weights, calibrated = chosen[tuple(members)]
    _write(ending, SOUP, f"soup of {counted(len(members), 'epoch')}", weights, reached, calibrated)


def _measure(ending: AveragingInputs, weights: Mapping[str, Tensor]) -> tuple[Reached, Calibrated]:
    """Return what the weights reach, and what was chosen for them; the task keeps what suits the last epoch."""
    task = ending.parts.task
    own = task.calibration()
    with temporarily_loaded(ending.parts.model, weights):
        figures = ending.validate()
    found = task.calibration()
    task.load_calibration(own)
    return (figures[task.headline], -figures["loss"]), found


def _write(ending: AveragingInputs, name: str, label: str, weights: Mapping[str, Tensor], reached: Reached, calibrated: Calibrated) -> None:
    progress = ending.parts.progress
    changes = {"state_dict_ema": dict(weights), "averaging": label, **calibrated}
    best = progress.best
    is_best = ending.saver.save_average(name, changes, progress, reached)
    verdict = "now the best weights" if is_best else f"epoch {progress.best_epoch} stays the best with {best[0]:.2%}"
    log().info(f"{label}: val {ending.parts.task.headline} {reached[0]:.2%}, loss {-reached[1]:.4f}; {verdict}. Written to {name}.pt")


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
