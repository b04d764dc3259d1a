"""A dense task for tests: a class for every pixel, measured by a confusion matrix that keeps no rows."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from applications.contract import Signature, StepResult, TensorSpec
from criterions.weighted import Criterion, build_criterion
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models.options import ModelOptions


class PixelNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes, H, W)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def rows_of(values: Tensor) -> Tensor:
    """Return (N, C, H, W) as a row a pixel, (N * H * W, C)."""
    return values.movedim(1, -1).flatten(0, -2)


class PixelTask:
    """Every pixel has a class; those of IGNORE count for nothing."""

    name = "pixels"
    target: ClassVar[type[Target]] = Mask
    fewest_classes: ClassVar[int] = 1
    abilities: ClassVar[frozenset[str]] = frozenset()
    headline = "mIoU"
    metric_names: tuple[str, ...] = ("loss", "mIoU", "pixel_accuracy")
    head_rate: ClassVar[float] = 1.0
    usual_criterion: ClassVar[str] = "softmax"
    build_criterion: ClassVar = staticmethod(build_criterion)

    def __init__(self, classes: Sequence[str], criterion: Criterion, preprocess: Preprocess, device: torch.device) -> None:
        self.classes = tuple(classes)
        self.criterion = criterion.to(device)
        self.normalize = Normalize(preprocess.mean, preprocess.std).to(device)

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        del model
        return PixelNet(len(classes))

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        known = batch.targets.flatten() != IGNORE
        targets = F.one_hot(batch.targets.flatten()[known].long(), len(self.classes)).float()
        logits = rows_of(model(self.normalize(batch.images)))[known]
        # A pixel weighs what its image does.
        weights = batch.weights[:, None].expand(-1, batch.targets[0].numel()).flatten()[known]
        loss = self.criterion(logits, targets, weights, record=record)
        right = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
        return StepResult(loss, {"loss": loss.detach() * len(batch), "pixel_accuracy": right * len(batch)})

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(self.normalize(batch.images)).float()

    def meter(self, images: int) -> "PixelMeter":
        del images
        return PixelMeter(self)

    def calibrate(self, meter: "PixelMeter") -> None:
        del meter

    def calibration(self) -> dict[str, Any]:
        return {}

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        del values

    def postprocess(self, outputs: Tensor, changes: Sequence[PlaneChange] = ()) -> list[np.ndarray]:
        """Return masks; with changes, those of the original images, which are as large as the changes' way back says."""
        masks = outputs.argmax(1).to(torch.uint8).numpy()
        return [change.move_ids(mask, IGNORE) for mask, change in zip(masks, changes, strict=True)] if changes else list(masks)

    def table(self, meter: "PixelMeter") -> list[list[str]]:
        rows = [[name, f"{iou:.4f}"] for name, iou in zip(self.classes, meter.ious(), strict=True)]
        return [["class", "IoU"], *rows]

    def render(self, meter: "PixelMeter", paths: Sequence[str], folder: Path) -> list[Path]:
        del paths
        with (folder / "classes.csv").open("w", newline="") as file:
            csv.writer(file).writerows(self.table(meter))
        return [folder / "classes.csv"]

    def signature(self) -> Signature:
        images = TensorSpec("images", "uint8", ("N", 3, "H", "W"))
        return Signature((images,), (TensorSpec("mask", "uint8", ("N", "H", "W")),))


class PixelMeter:
    """Sums, whatever the number of images.

    Attributes:
        matrix: pixels, int64 (C, C), one row per true class.
    """

    def __init__(self, task: PixelTask) -> None:
        self.task = task
        self.matrix = np.zeros((len(task.classes),) * 2, dtype=np.int64)
        self.loss, self.pixels = 0.0, 0

    def update(self, batch: Batch, outputs: Tensor) -> None:
        real = batch.indices >= 0
        truth = batch.targets[real].flatten().long()
        known = truth != IGNORE
        logits, truth, count = rows_of(outputs[real])[known], truth[known], len(self.task.classes)
        pairs = torch.bincount(truth * count + logits.argmax(1), minlength=count * count)
        self.matrix += pairs.reshape(count, count).cpu().numpy()
        self.loss += float(self.task.criterion.plain(logits, F.one_hot(truth, count).float()).sum())
        self.pixels += len(truth)

    def state(self) -> tuple[np.ndarray, float, int]:
        return self.matrix, self.loss, self.pixels

    def merge(self, state: tuple[np.ndarray, float, int]) -> None:
        matrix, loss, pixels = state
        self.matrix = self.matrix + matrix
        self.loss += loss
        self.pixels += pixels

    def ious(self) -> np.ndarray:
        hits = np.diag(self.matrix)
        return hits / np.maximum(self.matrix.sum(0) + self.matrix.sum(1) - hits, 1)

    def figures(self) -> dict[str, float]:
        occurs = self.matrix.sum(1) > 0
        accuracy = np.trace(self.matrix) / max(1, self.pixels)
        return {"loss": self.loss / max(1, self.pixels), "mIoU": float(self.ious()[occurs].mean()), "pixel_accuracy": float(accuracy)}

    def one_answer(self) -> str:
        found = np.flatnonzero(self.matrix.sum(0))
        alike = len(found) == 1 and (self.matrix.sum(1) > 0).sum() > 1
        return f"all pixels are answered '{self.task.classes[found[0]]}'" if alike else ""
