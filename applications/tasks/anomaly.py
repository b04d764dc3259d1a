"""Anomaly detection: from good images alone it is learned what is normal; each image gets a score, and each pixel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from applications.contract import LearnsInPasses, Signature, StepResult, TensorSpec
from applications.tasks.defect_meter import DefectMeter
from applications.tasks.defect_threshold import DefectThreshold, best_f1, parse_promise, promised, usual
from applications.tasks.moved_heat import moved_heat
from criterions.options import USUAL
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch
from dataloader.targets.defect import GOOD, Defect, DefectBatch
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models.anomaly import ANOMALY_DETECTORS, ENCODER, is_anomaly_detector
from models.anomaly.anomaly_detector import AnomalyDetector
from models.anomaly.build import build_anomaly_detector
from models.options import ModelOptions
from utils.errors import UserError
from utils.files import write_csv

THRESHOLD = "defect_threshold"


class DefectAnswer(NamedTuple):
    """What is said of one image.

    Attributes:
        score: in [0, 1], the larger the stranger.
        heat: scores of its pixels, float32 (H, W), in the plane of the original image; 0 where the detector did not look.
        defective: whether the score reaches the threshold; None without one.
    """

    score: float
    heat: np.ndarray
    defective: bool | None


def _no_criterion(spec: object, **settings: object) -> nn.Module:
    """Return what stands in the place of a loss."""
    del spec, settings
    return nn.Identity()


class Anomaly(LearnsInPasses):
    """The anomaly task: scores (N,) and maps (N, H, W) in [0, 1], for an `AnomalyDetector`."""

    name = "anomaly"
    target: ClassVar[type[Target]] = Defect
    fewest_classes: ClassVar[int] = 1
    abilities: ClassVar[frozenset[str]] = frozenset(
        {
            "encoder-decoder networks",
            "thresholds that keep a promise",
            "exported files",
            "measuring files side by side",
            "answers for single images",
            "answers over the network",
            "comparing models",
            "rejecting answers",
            "tables of OK and NG",
        }
    )
    headline = "AUROC"
    # Nothing is learned by a loss; this one is named in its place.
    head_rate: ClassVar[float] = 1.0
    usual_criterion: ClassVar[str] = USUAL
    build_criterion: ClassVar = staticmethod(_no_criterion)
    metric_names: tuple[str, ...] = ("AUROC", "pixel_AUROC", "AUPRO", "AP", "F1", "false_alarms", "missed")

    def __init__(self, classes: Sequence[str], criterion: nn.Module, preprocess: Preprocess, device: torch.device) -> None:
        self.classes = tuple(classes)
        # Without numbers of its own: nothing is learned by a loss.
        self.criterion = criterion
        self.normalize: nn.Module = Normalize(preprocess.mean, preprocess.std).to(device)
        self.threshold: DefectThreshold | None = None
        self._held_out: list[Tensor] = []

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        """Return an unfitted anomaly detector.

        Raises:
            UserError: the name is not one of ANOMALY_DETECTORS.
        """
        del classes
        if not is_anomaly_detector(model.arch):
            raise UserError(
                f"--task anomaly takes --arch {' or --arch '.join(ANOMALY_DETECTORS)}, with --encoder NAME, not --arch {model.arch}"
            )
        return build_anomaly_detector(model.arch, model.encoder or ENCODER)

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Raise: a detector of defects learns by `observe`."""
        raise NotImplementedError("a detector of defects observes; it makes no steps")

    def passes(self, model: nn.Module) -> int:
        return _anomaly_detector(model).passes

    def observe(self, model: nn.Module, batch: Batch) -> None:
        real = batch.indices >= 0
        if bool(real.any()):
            _anomaly_detector(model).observe(self.normalize(batch.images[real]))

    def finish(self, model: nn.Module) -> None:
        _anomaly_detector(model).finish()

    def strangeness(self, model: nn.Module, batch: Batch, first: int) -> Tensor:
        return _anomaly_detector(model).strangeness(self.normalize(batch.images), first)

    def observe_held_out(self, model: nn.Module, batch: Batch) -> None:
        """Take the largest distance of each good image."""
        assert isinstance(batch.targets, DefectBatch)
        good = [row for row, kind in enumerate(batch.targets.kinds) if kind == GOOD and int(batch.indices[row]) >= 0]
        if good:
            self._held_out.append(_anomaly_detector(model).raw(self.normalize(batch.images[good])).amax((1, 2)).cpu())

    def settle(self, model: nn.Module) -> None:
        if not self._held_out:
            raise UserError("there are no good val images, by which scores are brought to [0, 1]; leave val/ out, or add val/good")
        _anomaly_detector(model).calibrate(torch.cat(self._held_out))
        self._held_out = []

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return scores (N,) and maps (N, H, W)."""
        scores, maps = model(self.normalize(batch.images))
        return scores.float(), maps.float()

    def meter(self, images: int) -> DefectMeter:
        """Return a new meter, which keeps a score an image."""
        del images
        return DefectMeter(None if self.threshold is None else self.threshold.value)

    def calibrate(self, meter: DefectMeter, groups: np.ndarray | None = None) -> None:
        """Choose the threshold: by the largest F1 where some of the images have defects, else by good ones, a group counting once."""
        images = meter.images
        good, bad = images.scores[~images.bad], images.scores[images.bad]
        with_defects = len(bad) and len(good)
        measured = None if groups is None else groups[images.indices]
        self._choose(meter, best_f1(good, bad) if with_defects else usual(_good_scores(meter, measured), groups=groups is not None))

    def chosen(self) -> str:
        return "none" if self.threshold is None else self.threshold.describe()

    def promise(self, meter: DefectMeter, target: str, groups: np.ndarray | None = None) -> str:
        """Choose the threshold that keeps the promise on good images; return a line about it.

        Raises:
            UserError: the promise cannot be read, or the images are too few for it.
        """
        limit = parse_promise(target)
        self._choose(meter, promised(_good_scores(meter, groups), limit, groups=groups is not None))
        assert self.threshold is not None
        return self.threshold.describe()

    def _choose(self, meter: DefectMeter, threshold: DefectThreshold) -> None:
        self.threshold = threshold
        meter.threshold = threshold.value

    def calibration(self) -> dict[str, Any]:
        return {THRESHOLD: None if self.threshold is None else self.threshold.to_dict()}

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        saved, alone = values.get(THRESHOLD), values.get("thresholds")
        # An exported file knows its threshold alone, not what stands behind it.
        self.threshold = DefectThreshold.from_dict(saved) if saved else DefectThreshold(alone[0], "file", None, 0, 0) if alone else None

    def postprocess(self, outputs: tuple[Tensor, Tensor], changes: Sequence[PlaneChange] = ()) -> list[DefectAnswer]:
        """Return the answers; with changes, which lead back to the original images, at their size."""
        scores, maps = (each.cpu().numpy() for each in outputs)
        limit = None if self.threshold is None else self.threshold.value
        heats = [moved_heat(heat, change) for heat, change in zip(maps, changes, strict=True)] if changes else list(maps)
        return [
            DefectAnswer(float(score), heat, None if limit is None else bool(score >= limit))
            for score, heat in zip(scores, heats, strict=True)
        ]

    def table(self, meter: DefectMeter) -> list[list[str]]:
        """Return what is found of each kind of defect, below a header; of good images the false alarms."""
        images = meter.images
        good = images.of(GOOD)
        rows = [
            [row.kind, str(row.images), "" if row.found is None else str(row.found), *map(_figure, (row.auroc, row.pixel_auroc, row.aupro))]
            for row in meter.by_kind()
        ]
        if len(good):
            alarms = "" if meter.threshold is None else str(int((good >= meter.threshold).sum()))
            rows.insert(0, [GOOD, str(len(good)), alarms, "", "", ""])
        return [["kind", "images", "named defective", "AUROC", "pixel AUROC", "AUPRO"], *rows]

    def render(self, meter: DefectMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write predictions.csv and kinds.csv; return them."""
        images = meter.images
        files = [folder / "predictions.csv", folder / "kinds.csv"]
        answers = ["" if meter.threshold is None else ("defective" if score >= meter.threshold else GOOD) for score in images.scores]
        rows = [
            (paths[index], kind, f"{score:.9g}", answer)
            for index, kind, score, answer in zip(images.indices.tolist(), images.kinds, images.scores, answers, strict=True)
        ]
        write_csv(files[0], [("path", "kind", "score", "answer"), *rows])
        write_csv(files[1], self.table(meter))
        return files

    def signature(self) -> Signature:
        images = TensorSpec("images", "uint8", ("N", 3, "H", "W"))
        return Signature((images,), (TensorSpec("score", "float32", ("N",)), TensorSpec("map", "float32", ("N", "height", "width"))))


def _anomaly_detector(model: nn.Module) -> AnomalyDetector:
    assert isinstance(model, AnomalyDetector)
    return model


def _good_scores(meter: DefectMeter, groups: np.ndarray | None) -> np.ndarray:
    """Return the scores of good images; with groups, numbers (N,) of all images, the largest of each group."""
    images = meter.images
    scores = images.scores[~images.bad]
    if groups is None:
        return scores
    of_good = groups[~images.bad]
    return np.array([scores[of_good == number].max() for number in np.unique(of_good)])


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def regions_of(mask: np.ndarray, heat: np.ndarray) -> list[dict[str, Any]]:
    """Return box, pixels and largest score of each connected region of a mask, bool (H, W), the strangest first."""
    import cv2

    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for number in range(1, count):
        left, top, width, height, pixels = stats[number].tolist()
        score = float(heat[numbers == number].max())
        found.append({"box": [left, top, width, height], "pixels": pixels, "score": round(score, 6)})
    return sorted(found, key=lambda region: -region["score"])
