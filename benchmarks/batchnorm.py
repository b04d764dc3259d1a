"""How fresh batch-norm statistics are at the end of short runs: running averages against statistics counted anew.

    python -m benchmarks.batchnorm --data digits --arch mobilenetv3_small --steps 20 100 500

Statistics do not change how a network trains, so one training shows them all: at its end the same weights are
measured with the running averages of several momenta, and with statistics over the last few training batches.
"""

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dataloader.opening.open_catalog import open_catalog
from models import build_model
from models.batchnorm_momentum import bn_momentum_for
from optim.schedules import build_schedule

MOMENTA = (0.01, 0.1, 0.3, 0.5)
IMAGES = (128, 256, 512, 1024, 2048)


def load(data: str, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images and labels, and those of validation; float (N, 3, size, size) around zero."""
    import cv2

    catalog = open_catalog(data)
    parts: list[Tensor] = []
    for name in ("train", "val"):
        split = catalog.splits[name]
        images = [cv2.resize(split.read(index), (size, size), interpolation=cv2.INTER_AREA) for index in range(len(split))]
        parts += [torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 64 - 2, torch.as_tensor(split.targets)]
    return parts[0], parts[1], parts[2], parts[3]


def norms(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]


def statistics(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of all layers, the tensors themselves."""
    return [value for layer in norms(model) for value in (layer.running_mean, layer.running_var) if value is not None]


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, held: Sequence[Tensor] | None = None) -> float:
    """Return the share of right answers with the statistics `held`."""
    if held is not None:
        for value, other in zip(statistics(model), held, strict=True):
            value.copy_(other)
    model.eval()
    right = sum((model(part).argmax(1) == truth).sum().item() for part, truth in zip(images.split(128), labels.split(128), strict=True))
    return right / len(labels)


@torch.no_grad()
def counted(model: nn.Module, batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean statistics over some batches, with every layer but the norms in evaluation mode."""
    model.eval()
    for layer in norms(model):
        layer.train()
    total = [torch.zeros_like(value) for value in statistics(model)]
    seen = 0
    for batch in batches:
        model(batch)
        for whole, value in zip(total, statistics(model), strict=True):
            whole.add_(value, alpha=len(batch))
        seen += len(batch)
    return [value / seen for value in total]


def train(
    arch: str, parts: tuple[Tensor, Tensor, Tensor, Tensor], *, steps: int, per_epoch: int, batch: int, lr: float, seed: int
) -> dict[str, float]:
    """Train for some steps; return what each kind of statistics reaches in validation."""
    images, labels, val_images, val_labels = parts
    torch.manual_seed(seed)
    model = build_model(arch, num_classes=int(labels.max()) + 1)
    published = norms(model)[0].momentum or 0.1
    momenta = {f"momentum {value:g}": value for value in MOMENTA} | {"momentum auto": bn_momentum_for(published, per_epoch)}
    for layer in norms(model):
        layer.momentum = 1.0
    held = {name: [value.clone() for value in statistics(model)] for name in momenta}
    schedule = build_schedule("cosine", epochs=-(-steps // per_epoch), steps_per_epoch=per_epoch, warmup=0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    recent: list[Tensor] = []
    order = torch.cat([torch.randperm(len(images)) for _ in range(-(-steps * batch // len(images)))])
    losses = []
    for step, picked in enumerate(order[: steps * batch].split(batch)):
        model.train()
        shown = images[picked]
        shown = torch.where((torch.rand(len(shown)) < 0.5)[:, None, None, None] & torch.tensor(images.shape[-1] > 40), shown.flip(3), shown)
        optimizer.param_groups[0]["lr"] = lr * schedule(step)
        answers = model(shown)
        loss = nn.functional.cross_entropy(answers, labels[picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((answers.argmax(1) == labels[picked]).float().mean().item())
        with torch.no_grad():
            for name, value in momenta.items():
                for average, latest in zip(held[name], statistics(model), strict=True):
                    average.lerp_(latest, value)
        recent = [*recent, shown][-math.ceil(max(IMAGES) / batch) :]
    found: dict[str, float] = {"train": float(np.mean(losses[-max(1, len(losses) // 5) :]))}
    found |= {name: accuracy(model, val_images, val_labels, values) for name, values in held.items()}
    for count in IMAGES:
        batches = recent[-math.ceil(count / batch) :]
        found[f"counted on {count}"] = accuracy(model, val_images, val_labels, counted(model, batches))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--arch", nargs="+", default=["resnet18", "mobilenetv3_small", "efficientnet_b0"])
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 50, 100, 200, 500])
    parser.add_argument("--per_epoch", type=int, default=None, help="steps of an epoch (default: those of the data)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("batchnorm.csv"))
    options = parser.parse_args()
    parts = load(options.data, options.size)
    rows: list[dict[str, object]] = []
    for arch in options.arch:
        for steps in options.steps:
            for seed in range(options.seeds):
                per_epoch = min(steps, options.per_epoch or -(-len(parts[0]) // options.batch))
                found = train(arch, parts, steps=steps, per_epoch=per_epoch, batch=options.batch, lr=options.lr, seed=seed)
                rows.append({"arch": arch, "batch": options.batch, "steps": steps, "per_epoch": per_epoch, "seed": seed, **found})
                print(arch, steps, seed, "  ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
                with options.out.open("w", newline="") as file:
                    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)


if __name__ == "__main__":
    main()
