"""Which learning rate and weight decay suit an optimizer: short trainings with each, on the same images.

    python -m benchmarks.rates --opts sgd adamw --data digits DIR --arch resnet18 mobilenetv3_small --out rates.csv

Images are read once and trained as they are, so that a training takes seconds. Every training is a row of the table, and none is made
twice. At the end the accuracies on val are printed, each the mean over data, networks and seeds. `--rates 0.05 --decays 5e-4` adds others.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.batchnorm import accuracy, counted, load, norms
from benchmarks.shared import rows_in, write_rows
from models import build_model
from optim.optimizers import build_optimizer
from optim.schedules import build_schedule

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
DECAYS = (0.01, 5e-4)
BATCH = 32
COUNTED_ON = 512

Parts = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Trial:
    """A training: on which images, of which network, by which optimizer, with which random numbers."""

    data: str
    size: int
    arch: str
    opt: str
    rate: float
    decay: float
    epochs: int
    seed: int


def trial_of(row: Mapping[str, str]) -> Trial:
    """Return the training of a row of the table."""
    numbers = {"size": int, "rate": float, "decay": float, "epochs": int, "seed": int}
    return Trial(**{field.name: numbers.get(field.name, str)(row[field.name]) for field in fields(Trial)})


def train(trial: Trial, parts: Parts) -> float:
    """Train by a warm-up of a tenth and a cosine; return the share of val answered right, 0 where the loss is no number any more."""
    images, labels, val_images, val_labels = parts
    torch.manual_seed(trial.seed)
    model = build_model(trial.arch, num_classes=int(labels.max()) + 1)
    for layer in norms(model):
        layer.momentum = 1.0
    optimizer = build_optimizer(trial.opt, model, lr=trial.rate, momentum=0.9, weight_decay=trial.decay)
    steps = len(images) // BATCH
    schedule = build_schedule("cosine", epochs=trial.epochs, steps_per_epoch=steps, warmup=trial.epochs / 10)
    order = [picked for _ in range(trial.epochs) for picked in torch.randperm(len(images))[: steps * BATCH].split(BATCH)]
    for step, picked in enumerate(order):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = trial.rate * schedule(step)
        loss = functional.cross_entropy(model(images[picked]), labels[picked])
        if not loss.isfinite():
            return 0.0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return accuracy(model, val_images, val_labels, counted(model, images[torch.randperm(len(images))[:COUNTED_ON]].split(BATCH)))


def describe(rows: Mapping[Trial, float]) -> list[str]:
    """Return the lines of a table: optimizers and decays downwards, rates across, accuracies in percent."""
    rates = sorted({trial.rate for trial in rows})
    found: dict[tuple[str, float], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial, right in rows.items():
        found[trial.opt, trial.decay][trial.rate].append(100 * right)
    lines = [f"| --opt | --weight_decay |{'|'.join(f' {rate:g} ' for rate in rates)}|", f"|---|---|{'---|' * len(rates)}"]
    for (opt, decay), cells in found.items():
        shown = "|".join(f" {mean(cells[rate]):.1f} " if rate in cells else "  " for rate in rates)
        lines.append(f"| `{opt}` | {decay:g} |{shown}|")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--arch", nargs="+", default=["resnet18", "mobilenetv3_small"])
    parser.add_argument("--opts", nargs="+", default=["sgd", "adamw"])
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--decays", type=float, nargs="+", default=DECAYS)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("rates.csv"))
    options = parser.parse_args()
    rows = {trial_of(row): float(row["right"]) for row in rows_in(options.out)}
    parts = {data: load(data, options.size) for data in options.data}
    for data, arch, opt, decay, rate, seed in product(
        options.data, options.arch, options.opts, options.decays, options.rates, options.seeds
    ):
        trial = Trial(Path(data).name, options.size, arch, opt, rate, decay, options.epochs, seed)
        if trial not in rows:
            rows[trial] = train(trial, parts[data])
            print(*astuple(trial), f"{rows[trial]:.1%}", flush=True)
            write_rows(options.out, [{**asdict(each), "right": right} for each, right in rows.items()])
    print("\n".join(describe(rows)))


if __name__ == "__main__":
    main()
