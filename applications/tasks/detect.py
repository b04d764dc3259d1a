"""Object detection: a box and a class for every object."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from applications.abilities import VIEWS_OF_SINGLE_IMAGES
from applications.contract import StepResult
from applications.tasks.box_meter import BoxOutputs, said_by_file
from applications.tasks.box_task import BoxTask
from criterions.detection.criterion import DetectionCriterion, build_detection_criterion
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.target import Target
from models.detectors.build import build_detector
from models.detectors.detector import Detector
from models.options import ModelOptions
from utils.errors import UserError


class Detect(BoxTask):
    """The detection task: a `BoxBatch`, and answers (N, A, 5 + C) of left, top, right, bottom, objectness and classes.

    Attributes:
        plain_from: from this epoch on the absolute differences of offsets are part of the loss, as in the last epochs of YOLOX.

    Raises:
        UserError: preprocessing cuts off parts of images, whose objects would have no answer.
    """

    name = "detect"
    target: ClassVar[type[Target]] = Boxes
    fewest_classes: ClassVar[int] = 1
    abilities: ClassVar[frozenset[str]] = frozenset(
        {
            "counting the images of classes",
            "encoder-decoder networks",
            "necks",
            "anchors",
            "averaging views",
            "answers for single images",
            VIEWS_OF_SINGLE_IMAGES,
            "answered boxes",
            "exported files",
            "measuring files side by side",
            "answers over the network",
            "thresholds that keep a promise",
            "choosing on val images again",
            "tiles",
        }
    )
    headline = "AP"
    # Rows of PROMISES that its least score can keep.
    promises: ClassVar[tuple[str, ...]] = ("miss", "false_alarm")
    metric_names: tuple[str, ...] = ("loss", "AP", "AP50", "AP75")
    usual_criterion: ClassVar[str] = "bce|iou"
    head_rate: ClassVar[float] = 1.0
    build_criterion: ClassVar[Callable[..., DetectionCriterion]] = staticmethod(build_detection_criterion)
    plain_from: int | None = None

    def __init__(self, classes: Sequence[str], criterion: DetectionCriterion, preprocess: Preprocess, device: torch.device) -> None:
        if preprocess.resize == "crop":
            raise UserError("--resize crop cuts off parts of images, whose objects would have no answer; take fit or stretch")
        self.classes = tuple(classes)
        self.criterion = criterion.to(device)
        self.normalize: nn.Module = Normalize(preprocess.mean, preprocess.std).to(device)

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        """Return a network of DETECTORS."""
        for name in ("output_stride", "drop_rate"):
            if (value := getattr(model, name)) is not None:
                raise UserError(f"--{name} {value}: detectors have none; leave it out")
        return build_detector(
            model.arch, num_classes=len(classes), encoder=model.encoder, neck=model.neck, anchors=model.anchors, drop_path=model.drop_path
        )

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the loss, and its parts."""
        boxes = batch.targets
        assert isinstance(boxes, BoxBatch)
        images = self.normalize(batch.images)
        # In evaluation, as where batch-norm statistics are measured again, the network itself answers for places.
        said = model.predict(images) if isinstance(model, Detector) and not model.training else model(images)
        self.criterion.late = self.plain_from is not None and batch.epoch >= self.plain_from
        loss, parts = self.criterion(said, boxes.corners, boxes.classes, boxes.counts, batch.weights, crowd=boxes.crowd, record=record)
        return StepResult(loss, {name: part * len(batch) for name, part in {"loss": loss.detach(), **parts}.items()})

    def forward(self, model: nn.Module, batch: Batch) -> BoxOutputs:
        """Return what the network says in pixels of its input, float32, and the loss where the network itself is asked."""
        images = self.normalize(batch.images)
        if not isinstance(model, Detector):
            said = model(images)
            # An exported file answers corners, scores and, where it chooses boxes itself, their classes.
            return BoxOutputs(said.float() if isinstance(said, Tensor) else said_by_file(said, len(self.classes)))
        output, boxes = model.predict(images), batch.targets
        loss = None
        if isinstance(boxes, BoxBatch):
            loss, _ = self.criterion(output, boxes.corners, boxes.classes, boxes.counts, batch.weights, crowd=boxes.crowd, record=False)
        return BoxOutputs(model.answers(output).float(), loss)
