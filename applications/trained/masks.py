"""A segmenter's answers for whole images, at their own size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.tasks.mask_answers import Band, bands_of, mask_of
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.tiles import tile_bands


@dataclass(frozen=True)
class ImageSegmenter:
    """Answers images of any size, either brought to the size of the network, or in overlapping tiles of that size.

    Attributes:
        trained: the model.
        task: of the model.
        machine: where it computes.
        tiled: whether images are looked at in tiles, at their own scale.
    """

    trained: Trained
    task: Segment
    machine: Machine
    tiled: bool

    def look(self, pixels: Tensor) -> Tensor:
        """Return logits, float32 (N, C, H, W), of uint8 (N, 3, H, W)."""
        with torch.inference_mode(), self.machine.autocast():
            return self.trained.model(self.task.normalize(pixels.to(self.machine.device))).float()

    def bands(self, image: np.ndarray) -> Iterator[Band]:
        """Yield the logits of an image, uint8 (H, W, 3), at its size, a band of rows after the other."""
        preprocess, size = self.trained.preprocess, (image.shape[0], image.shape[1])
        if self.tiled:
            yield from tile_bands(self.look, image, preprocess.image_size, self.trained.config.data.batch_size)
            return
        yield from bands_of(self.look(preprocess.apply(image)[None])[0], preprocess.change(size).undone(size))

    def masks(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the masks of images, uint8 (H, W, 3) of any sizes, that go through the network together unless they are tiled."""
        if self.tiled:
            return [self.mask(image) for image in images]
        preprocess = self.trained.preprocess
        logits = self.look(torch.stack([preprocess.apply(image) for image in images]))
        backs = [preprocess.change(size).undone(size) for size in ((image.shape[0], image.shape[1]) for image in images)]
        return [mask_of(each, back) for each, back in zip(logits, backs, strict=True)]

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Return the most probable class of every pixel of an image, uint8 (H, W)."""
        mask = np.empty(image.shape[:2], np.uint8)
        for band in self.bands(image):
            mask[band.rows] = band.logits.argmax(0).to(torch.uint8).cpu().numpy()
        return mask


def is_tiled(trained: Trained) -> bool:
    """Whether a model looks at images in tiles: where that is asked for, and where it was trained on crops."""
    return trained.config.evaluation.tiles or trained.config.masks.crop
