"""A segmenter's answers for whole images, at their own size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from applications.tasks.mask_answers import Band, bands_of
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.image_model import ImageModel
from applications.trained.tiles import tile_bands


@dataclass(frozen=True)
class ImageSegmenter(ImageModel[Segment, np.ndarray]):
    """Answers with masks, uint8 (H, W): the most probable class of every pixel. `look` gives logits, float32 (N, C, H, W)."""

    def bands(self, image: np.ndarray) -> Iterator[Band]:
        """Yield the logits of an image, uint8 (H, W, 3), at its size, a band of rows after the other."""
        preprocess = self.trained.preprocess
        if self.tiled:
            yield from tile_bands(self.look, image, preprocess.image_size, self.trained.config.data.batch_size)
            return
        yield from bands_of(self.look(preprocess.apply(image)[None])[0], self.back(image))

    def of_tiles(self, image: np.ndarray) -> np.ndarray:
        return self.mask(image)

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Return the mask of an image."""
        mask = np.empty(image.shape[:2], np.uint8)
        for band in self.bands(image):
            mask[band.rows] = band.logits.argmax(0).to(torch.uint8).cpu().numpy()
        return mask


def is_tiled(trained: Trained) -> bool:
    """Whether a model looks at images in tiles: where that is asked for, and where it was trained on crops."""
    return trained.config.evaluation.tiles or trained.config.truths.crop
