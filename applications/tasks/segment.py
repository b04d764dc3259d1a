"""Semantic segmentation: one class per pixel."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from applications.contract import Signature, StepResult, TensorSpec
from applications.tasks.mask_answers import mask_of
from applications.tasks.mask_meter import MaskMeter
from criterions.pixels import PixelCriterion, build_pixel_criterion
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.sample import Batch
from dataloader.targets.mask import IGNORE, Mask
from dataloader.targets.plane_change import PlaneChange
from dataloader.targets.target import Target
from models.options import ModelOptions
from models.segmenters.build import build_segmenter
from models.segmenters.segmenter import AUXILIARY_WEIGHT, SegmenterOutput
from utils.drawing.plots import draw_bars
from utils.errors import UserError
from utils.files import write_csv


class Segment:
    """The segmentation task: masks uint8 (N, H, W), of which 255 is not known, and logits (N, C, H, W).

    Raises:
        UserError: preprocessing cuts off parts of images, which would have no answer.
    """

    name = "segment"
    target: ClassVar[type[Target]] = Mask
    fewest_classes: ClassVar[int] = 2
    abilities: ClassVar[frozenset[str]] = frozenset(
        {
            "counting the images of classes",
            "encoder-decoder networks",
            "averaging views",
            "answers for single images",
            "answers over the network",
            "comparing models",
            "exported files",
            "measuring files side by side",
            "training on crops",
            "tiles",
        }
    )
    headline = "mIoU"
    metric_names: tuple[str, ...] = ("loss", "mIoU", "pixel_accuracy", "dice")
    # Rare classes are learned late, or never, by the cross entropy alone; Dice gives every class that occurs the same weight.
    usual_criterion: ClassVar[str] = "softmax|class_weights(sqrt)|dice"
    # A decoder is most of what has to be learned.
    head_rate: ClassVar[float] = 4.0
    build_criterion: ClassVar[Callable[..., PixelCriterion]] = staticmethod(build_pixel_criterion)

    def __init__(self, classes: Sequence[str], criterion: PixelCriterion, preprocess: Preprocess, device: torch.device) -> None:
        if preprocess.resize == "crop":
            raise UserError("--resize crop cuts off parts of images, whose pixels would have no answer; take fit or stretch")
        self.classes = tuple(classes)
        self.criterion = criterion.to(device)
        self.normalize: nn.Module = Normalize(preprocess.mean, preprocess.std).to(device)

    @staticmethod
    def build_model(model: ModelOptions, classes: Sequence[str]) -> nn.Module:
        """Return a decoder of SEGMENTERS on its encoder."""
        return build_segmenter(
            model.arch,
            num_classes=len(classes),
            encoder=model.encoder,
            drop_rate=model.drop_rate,
            drop_path=model.drop_path,
            output_stride=model.output_stride,
        )

    def training_step(self, model: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        """Return the mean loss of the known pixels, and the share of them that is answered rightly."""
        assert isinstance(batch.targets, Tensor)
        truth = batch.targets.long()
        output = model(self.normalize(batch.images))
        logits = output.logits if isinstance(output, SegmenterOutput) else output
        loss = self.criterion(logits, truth, batch.weights, record=record)
        if isinstance(output, SegmenterOutput):
            # The statistics of the loss are those of the answer.
            loss = loss + AUXILIARY_WEIGHT * self.criterion(output.auxiliary, truth, batch.weights, record=False)
        known = truth != IGNORE
        right = ((logits.detach().argmax(1) == truth) & known).sum() / known.sum().clamp(min=1)
        return StepResult(loss, {"loss": loss.detach() * len(batch), "pixel_accuracy": right * len(batch)})

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, float32 (N, C, H, W)."""
        return model(self.normalize(batch.images)).float()

    def meter(self, images: int) -> MaskMeter:
        """Return a new meter, of one size for any number of images."""
        del images
        return MaskMeter(self.classes, self.criterion.activation)

    def calibrate(self, meter: MaskMeter) -> None:
        """Do nothing: the most probable class is the answer, at any temperature."""
        del meter

    def calibration(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_calibration(self, values: Mapping[str, Any]) -> None:
        """Take nothing."""
        del values

    def postprocess(self, outputs: Tensor, changes: Sequence[PlaneChange] = ()) -> list[np.ndarray]:
        """Return masks uint8 (H, W): of the original images, to which `changes` lead back; without them at the size of the network."""
        if not changes:
            return list(outputs.argmax(1).to(torch.uint8).cpu().numpy())
        return [mask_of(logits, change) for logits, change in zip(outputs, changes, strict=True)]

    def table(self, meter: MaskMeter) -> list[list[str]]:
        """Return IoU, Dice and pixels of every class, below a header; a class that does not occur has none."""
        pixels = meter.pixels
        columns = zip(self.classes, pixels.occurs, pixels.iou(), pixels.dice(), pixels.real, pixels.said, strict=True)
        total = max(1, int(pixels.real.sum()))
        rows = [
            [name, f"{iou:.4f}" if occurs else "", f"{dice:.4f}" if occurs else "", f"{real / total:.4%}", str(real), str(said)]
            for name, occurs, iou, dice, real, said in columns
        ]
        return [["class", "IoU", "Dice", "share", "pixels", "answered"], *rows]

    def render(self, meter: MaskMeter, paths: Sequence[str], folder: Path) -> list[Path]:
        """Write classes.csv, confusion.csv and iou.png; return them."""
        del paths
        files = [folder / name for name in ("classes.csv", "confusion.csv", "iou.png")]
        write_csv(files[0], self.table(meter))
        rows = ([name, *row] for name, row in zip(self.classes, meter.matrix.tolist(), strict=True))
        write_csv(files[1], [["true \\ answered, in pixels", *self.classes], *rows])
        pixels = meter.pixels
        title = f"mIoU {pixels.figures()['mIoU']:.2%} over {int(pixels.occurs.sum())} classes"
        draw_bars(np.where(pixels.occurs, pixels.iou(), np.nan).tolist(), self.classes, files[2], axis="IoU", title=title)
        return files

    def signature(self) -> Signature:
        """Return images of any size in, probabilities of every pixel at the size of the network out."""
        images = TensorSpec("images", "uint8", ("N", 3, "H", "W"))
        return Signature((images,), (TensorSpec("probabilities", "float32", ("N", len(self.classes), "h", "w")),))
