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
from models.detectors.tempered import tempered
from models.options import ModelOptions
from utils.errors import UserError


class Detect(BoxTask):
    """The detection task: a `BoxBatch`, and answers (N, A, 5 + C) of left, top, right, bottom, objectness and classes.

    In plain epochs the absolute differences of offsets are part of the loss, as in the last ones of YOLOX.

    Raises:
        UserError: preprocessing cuts off parts of images, whose objects would have no answer.
    """

    name = "detect"
    target: ClassVar[type[Target]] = Boxes
    fewest_classes: ClassVar[int] = 1
    abilities: ClassVar[frozenset[str]] = frozenset(
        {
            "counting the images of classes",
            "heat maps",
            "learning from teachers",
            "encoder-decoder networks",
            "necks",
            "anchors",
            "averaging views",
            "answers for single images",
            "copies with labels or boxes on them",
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
        said = model(self.normalize(batch.images))
        self.criterion.late = batch.plain
        loss, parts, held = self.criterion(
            said, boxes.corners, boxes.classes, boxes.counts, batch.weights, crowd=boxes.crowd, record=record
        )
        return StepResult(loss, {name: part * len(batch) for name, part in {"loss": loss.detach(), **parts}.items()}, held.detach())

    def forward(self, model: nn.Module, batch: Batch) -> BoxOutputs:
        """Return what the network says in pixels of its input, float32, and the losses where the network itself is asked."""
        images = self.normalize(batch.images)
        if not isinstance(model, Detector):
            said = model(images)
            # An exported file answers corners, scores at its temperature and, where it chooses boxes itself, their classes.
            return BoxOutputs(self._tempered(said.float()) if isinstance(said, Tensor) else said_by_file(said, len(self.classes)))
        output, boxes = model.predict(images), batch.targets
        losses = None
        if isinstance(boxes, BoxBatch):
            losses = self.criterion.of_images(output, boxes.corners, boxes.classes, boxes.counts, crowd=boxes.crowd)
        return BoxOutputs(self._tempered(model.answers(output).float()), losses)

    def _tempered(self, said: Tensor) -> Tensor:
        """Return what a network says, (N, A, 5 + C), with scores at the temperature in place of the probabilities of classes."""
        if self.temperature == 1:
            return said
        scores = tempered(said[..., 5:] * said[..., 4:5], self.temperature)
        return torch.cat([said[..., :4], torch.ones_like(said[..., 4:5]), scores], -1)
