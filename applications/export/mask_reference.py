"""Masks of files beside those of their model: every pixel at the size of the network, figures at that of the original images."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.export.answers import Answers
from applications.export.parity import ALLOWED_INT8, Allowed, ClassFigure, Figures, Parity, Words, in_order
from applications.export.reference import Reference
from applications.formats.deployed import Deployed, deploy
from applications.formats.facts import Facts
from applications.formats.format import Holds
from applications.settings.options import ExportOptions
from applications.tasks.mask_answers import mask_of
from applications.tasks.mask_figures import pixels_of
from applications.tasks.mask_meter import count_pairs
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.masks import ImageSegmenter
from dataloader.targets.mask import IGNORE, Mask

# A class may turn where two are equally probable. In 16 bits the probability that moves farthest, of many millions, says how many there are
# rather than how good they are; means say it: of the total variation distance of a pixel, half the sum of the differences over the classes,
# since a mean over classes would shrink as their number grows. Sigmoids are independent, and a sum over them would grow with their number:
# there it is the class that moved farthest, the same at two classes. On street scenes, by five networks, 16 bits moved it by 1.0e-3 to
# 5.0e-3 in the worst image, and the mildest broken export (pixels wrong by 1, or a mean color wrong by 5 of 255) by 9.0e-3 to 1.8e-2.
ALLOWED = {"fp32": Allowed(1e-3, 0.9999), "half": Allowed(1.0, 0.99, mean=7e-3), "int8": ALLOWED_INT8}
OF_SIGMOIDS = "mean over pixels of the class that moved farthest"
# Pixels in which two classes are as close as that lie between them.
TIE = 1e-4


class MaskReference(Reference[Segment]):
    """Answers are probabilities (C, h, w)."""

    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED
    words: ClassVar[Words] = Words("pixels", "probability", "pixels", "IoU", mean="mean over pixels of half the sum over classes")
    demo: ClassVar[str] = "segmenter"

    @staticmethod
    def deploy(trained: Trained, task: Segment, options: ExportOptions, *, any_size: bool) -> Deployed:
        arch = trained.config.model.arch
        return deploy(trained.model, trained.preprocess, task.criterion.activation, arch=arch, any_size=any_size, half=options.half)

    @staticmethod
    def facts(trained: Trained, task: Segment, options: ExportOptions, holds: Holds) -> dict[str, Any]:
        del options, holds
        outputs = tuple(each.name for each in task.signature().outputs)
        return {"activation": task.criterion.activation, "outputs": outputs, **asdict(trained.calibration)}

    @staticmethod
    def said(trained: Trained, task: Segment, pixels: Tensor, machine: Machine) -> np.ndarray:
        return task.criterion.probabilities(ImageSegmenter(trained, task, machine).look(pixels)).cpu().numpy()

    def figures(self, answers: Iterable[tuple[int, np.ndarray]], facts: Facts) -> Figures:
        classes = self.task.classes
        matrix = np.zeros((len(classes), len(classes)), np.int64)
        for index, answer in answers:
            truth = self.split.target(index)
            assert isinstance(truth, Mask)
            size = truth.image_size()
            logits = torch.from_numpy(in_order(answer, facts.classes, classes, axis=0)).clamp(min=torch.finfo(torch.float32).tiny).log()
            said = mask_of(logits, facts.preprocess.change(size).undone(size))
            known = truth.ids != IGNORE
            real, told = (torch.from_numpy(each[known].astype(np.int64)) for each in (truth.ids, said))
            matrix += count_pairs(real, told, len(classes)).numpy()
        pixels = pixels_of(matrix)
        rows = zip(classes, pixels.occurs, pixels.real.tolist(), pixels.iou().tolist(), strict=True)
        found = tuple(ClassFigure(name, count, iou) for name, occurs, count, iou in rows if occurs)
        return Figures(self.task.headline, pixels.figures()[self.task.headline], found)

    def mean_differences(self, differences: np.ndarray) -> np.ndarray:
        """Return the mean over pixels of how far their answer has moved, (N,), of differences (N, C, h, w)."""
        of_pixels = differences.max(1) if self._sigmoids else differences.sum(1) / 2
        return of_pixels.mean((1, 2))

    @property
    def _sigmoids(self) -> bool:
        return self.task.criterion.activation == "sigmoid"

    def compare(self, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> Parity:
        single, batched = (in_order(part, answers.facts.classes, facts.classes) for part in (answers.single, answers.batched))
        if single.shape != expected.shape:
            single = batched = np.full_like(expected, np.nan)
        second, first = np.partition(expected, -2, axis=1)[:, -2:].swapaxes(0, 1)
        # A pixel agrees where it does both alone and among other images.
        alike = [(part.argmax(1) == expected.argmax(1)) & ~np.isnan(part).any(1) for part in (single, batched)]
        same = (alike[0] & alike[1]) | ((first - second < TIE) & ~np.isnan(single).any(1))
        mine = self.figures(enumerate(expected), facts)
        theirs = self.worse_figures(np.nan_to_num(single), np.nan_to_num(batched), facts, allowed)
        parity = self.parity(np.abs(single - expected), np.abs(batched - expected), (int(same.sum()), same.size), (mine, theirs))
        return replace(parity, words=parity.words._replace(mean=OF_SIGMOIDS)) if self._sigmoids else parity
