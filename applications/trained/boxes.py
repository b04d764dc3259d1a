"""A detector's answers for whole images, at their own size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from applications.tasks.box_answers import BoxAnswer, Choice, answer_of
from applications.tasks.detect import Detect
from applications.trained.checkpoint import Trained
from applications.trained.image_model import ImageModel
from applications.trained.joined_tiles import joined
from applications.trained.tiles import tile_starts
from dataloader.targets.plane_change import PlaneChange
from utils.errors import UserError


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
        task.confidence, task.promise = options.conf, None


@dataclass(frozen=True)
class ImageDetector(ImageModel[Detect, BoxAnswer]):
    """Answers with the boxes of the least score or more; `boxes` with those of any choice."""

    def of_tiles(self, image: np.ndarray) -> BoxAnswer:
        return self.boxes(image, self.task.answered)

    def look(self, pixels: Tensor) -> Tensor:
        """Return what the network says of uint8 (N, 3, H, W): (N, A, 5 + C), in pixels of these."""
        return super().look(pixels).said

    def answers_of(self, outputs: Tensor, backs: Sequence[PlaneChange]) -> list[BoxAnswer]:
        return [answer_of(said, self.task.answered, back) for said, back in zip(outputs, backs, strict=True)]

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
