"""A detector's answers for whole images, at their own size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.tasks.box_answers import BoxAnswer, Choice, answer_of, numpy_answer
from applications.tasks.detect import Detect
from applications.trained.checkpoint import Trained
from applications.trained.tiles import tile_starts
from dataloader.sample import Batch
from utils.errors import UserError

# A box that ends where its tile does, inside the image, is a part of an object: it is dropped where another box of its class, also from
# elsewhere, holds this share of it.
HELD = 0.7
# So close to the border of its tile, in pixels, a box may end because of it.
NEAR = 2.0


def set_choice(task: Detect, trained: Trained) -> None:
    """Let a task answer the boxes that --conf, --nms, --max_detections and --agnostic ask for, or an exported file was written with."""
    options, exported = trained.config.boxes, trained.exported
    if exported is not None and (own := exported.facts.boxes) is not None:
        task.confidence = own.confidence
        task.choice = replace(task.choice, overlap=own.overlap, most=own.most, agnostic=own.agnostic)
        # What is chosen in the file cannot be had back.
        if exported.facts.chooses_boxes and options.conf is not None and options.conf < own.confidence:
            raise UserError(
                f"--conf {options.conf:g}: {exported.path} answers boxes from {own.confidence:.3f} on; export it again with --conf"
            )
    given = {"overlap": options.nms, "most": options.max_detections}
    task.choice = replace(
        task.choice,
        agnostic=options.agnostic or task.choice.agnostic,
        **{name: value for name, value in given.items() if value is not None},
    )
    if options.conf is not None:
        task.confidence = options.conf


@dataclass(frozen=True)
class ImageDetector:
    """Answers images of any size, either brought to the size of the network, or in overlapping tiles of that size.

    Attributes:
        trained: the model.
        task: of the model.
        machine: where it computes.
        tiled: whether images are looked at in tiles, at their own scale.
    """

    trained: Trained
    task: Detect
    machine: Machine
    tiled: bool

    def look(self, pixels: Tensor) -> Tensor:
        """Return what the network says of uint8 (N, 3, H, W): (N, A, 5 + C), in pixels of these."""
        with torch.inference_mode(), self.machine.autocast():
            return self.task.forward(self.trained.model, Batch.unlabeled(pixels).to(self.machine.device)).said

    def answer(self, said: Tensor, size: tuple[int, int], choice: Choice) -> BoxAnswer:
        """Return the boxes on an original image of this size, (H, W), by what the network says of it, (A, 5 + C)."""
        return answer_of(said, choice, self.trained.preprocess.change(size).undone(size))

    def boxes(self, image: np.ndarray, choice: Choice) -> BoxAnswer:
        """Return the boxes of an image, uint8 (H, W, 3)."""
        if self.tiled:
            return self._of_tiles(image, choice)
        return self.answer(self.look(self.trained.preprocess.apply(image)[None])[0], (image.shape[0], image.shape[1]), choice)

    def _of_tiles(self, image: np.ndarray, choice: Choice) -> BoxAnswer:
        height, width = image.shape[:2]
        high, wide = self.trained.preprocess.image_size
        padded = np.pad(image, ((0, max(0, high - height)), (0, max(0, wide - width)), (0, 0)))
        pixels = torch.from_numpy(np.ascontiguousarray(padded)).permute(2, 0, 1)
        places = [(top, left) for top in tile_starts(height, high) for left in tile_starts(width, wide)]
        step, found = self.trained.config.data.batch_size, []
        for start in range(0, len(places), step):
            chosen = places[start : start + step]
            said = self.look(torch.stack([pixels[:, top : top + high, left : left + wide] for top, left in chosen]))
            found += [answer_of(each, choice) for each in said]
        return joined(found, places, (high, wide), (height, width), choice)


def joined(
    found: Sequence[BoxAnswer], places: Sequence[tuple[int, int]], tile: tuple[int, int], size: tuple[int, int], choice: Choice
) -> BoxAnswer:
    """Return the boxes of an image from those of its tiles.

    Args:
        found: of each tile, in its own pixels.
        places: (top, left) of each tile.
        tile: (H, W) of the tiles.
        size: (H, W) of the image.
        choice: which boxes are answered.
    """
    height, width = size
    corners, cut = [], []
    for answer, (top, left) in zip(found, places, strict=True):
        inner = np.array([left > 0, top > 0, left + tile[1] < width, top + tile[0] < height])
        near = np.concatenate([answer.corners[:, :2] < NEAR, answer.corners[:, 2:] > [tile[1] - NEAR, tile[0] - NEAR]], axis=1)
        cut.append((near & inner).any(1))
        placed = answer.corners.clip(0, [tile[1], tile[0], tile[1], tile[0]]) + np.array([left, top, left, top])
        corners.append(placed.clip(0, [width, height, width, height]).astype(np.float32))
    boxes, parts = np.concatenate(corners), np.concatenate(cut)
    scores, classes = (np.concatenate([getattr(each, name) for each in found]) for name in ("scores", "classes"))
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    kept &= ~(parts & _held(boxes, classes, agnostic=choice.agnostic))
    return numpy_answer(boxes[kept], scores[kept], classes[kept], choice)


def _held(boxes: np.ndarray, classes: np.ndarray, *, agnostic: bool) -> np.ndarray:
    """Return whether a larger box of its class holds most of each, bool (K,)."""
    area = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    held = np.zeros(len(boxes), bool)
    for number, box in enumerate(boxes):
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        shared = sides.clip(0).prod(1)
        others = (area > area[number]) & (shared >= HELD * area[number]) & (area[number] > 0)
        held[number] = bool((others if agnostic else others & (classes == classes[number])).any())
    return held
