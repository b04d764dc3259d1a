"""Scores and maps of defects of files beside those of their model."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from applications.assemble import Machine
from applications.export.answers import Answers
from applications.export.parity import ALLOWED_INT8, Allowed, ClassFigure, Figures, Parity, Words
from applications.export.reference import Reference
from applications.formats.deployed import Deployed, deploy_outputs
from applications.formats.facts import Facts
from applications.formats.format import Holds
from applications.settings.options import ExportOptions
from applications.tasks.anomaly import Anomaly
from applications.tasks.defect_meter import auroc
from applications.trained.checkpoint import Trained
from applications.trained.defects import ImageAnomalyDetector
from dataloader.targets.defect import GOOD, Defect
from models.anomaly.anomaly_detector import AnomalyDetector

# The encoder alone is in 16 or 8 bits. Distances to what is normal grow by what it is less exact.
ALLOWED = {"fp32": Allowed(1e-4, 1.0), "half": Allowed(5e-2, 0.99), "int8": ALLOWED_INT8}
# Above every score: without a threshold nothing is named.
NO_THRESHOLD = 2.0


class DefectReference(Reference[Anomaly]):
    """Answers are a score and the map of an image in one row, (1 + h w,)."""

    allowed: ClassVar[Mapping[str, Allowed]] = ALLOWED
    words: ClassVar[Words] = Words("images, as good or defective,", "score", "images", "AUROC against good images")
    demo: ClassVar[str] = ""
    quantized: ClassVar[str] = "encoder."

    @staticmethod
    def deploy(trained: Trained, task: Anomaly, options: ExportOptions, *, any_size: bool) -> Deployed:
        del task
        net = trained.model
        assert isinstance(net, AnomalyDetector)
        if options.half:
            net = copy(net)
            net._modules = {**net._modules, "encoder": deepcopy(net.encoder).half()}
        return deploy_outputs(net, trained.preprocess, any_size=any_size, half=options.half)

    @staticmethod
    def facts(trained: Trained, task: Anomaly, options: ExportOptions, holds: Holds) -> dict[str, Any]:
        del trained, options, holds
        thresholds = None if task.threshold is None else (task.threshold.value,)
        return {"activation": "none", "outputs": tuple(each.name for each in task.signature().outputs), "thresholds": thresholds}

    @staticmethod
    def joined(outputs: Sequence[np.ndarray], facts: Facts) -> np.ndarray:
        del facts
        scores, maps = outputs
        return np.concatenate([scores[:, None], maps.reshape(len(maps), -1)], axis=1)

    @staticmethod
    def said(trained: Trained, task: Anomaly, pixels: Tensor, machine: Machine) -> np.ndarray:
        scores, maps = ImageAnomalyDetector(trained, task, machine).look(pixels)
        return np.concatenate([scores[:, None].cpu().numpy(), maps.flatten(1).cpu().numpy()], axis=1)

    def figures(self, answers: Iterable[tuple[int, np.ndarray]], facts: Facts) -> Figures:
        """Return the AUROC of images; of a split of good images alone, how many of them are named good."""
        positions, scores = zip(*((index, float(answer[0])) for index, answer in answers), strict=True)
        kinds = np.array([self._kind(index) for index in positions])
        scores = np.nan_to_num(np.array(scores), nan=np.inf)
        good, bad = scores[kinds == GOOD], scores[kinds != GOOD]
        if not len(bad):
            return Figures("good images named good", float((good < threshold_of(facts)).mean()), ())
        of_kinds = {str(kind): scores[kinds == kind] for kind in np.unique(kinds[kinds != GOOD])}
        rows = tuple(ClassFigure(kind, len(own), auroc(good, own)) for kind, own in of_kinds.items())
        return Figures("AUROC", auroc(good, bad), rows)

    def _kind(self, index: int) -> str:
        target = self.split.target(index)
        assert isinstance(target, Defect)
        return target.kind

    def compare(self, expected: np.ndarray, answers: Answers, facts: Facts, allowed: Allowed) -> Parity:
        single, batched = answers.single, answers.batched
        if single.shape != expected.shape:
            single = batched = np.full_like(expected, np.nan)
        told = answers.facts
        named = [part[:, 0] >= threshold_of(each) for part, each in ((expected, facts), (single, told), (batched, told))]
        # A score that lies on the threshold up to what is allowed agrees either way.
        near = np.abs(expected[:, 0] - threshold_of(facts)) <= allowed.difference
        mine, theirs = self.figures(enumerate(expected), facts), self.worse_figures(single, batched, facts, allowed)
        agreeing = int((((named[0] == named[1]) & (named[0] == named[2])) | near).sum())
        return self.parity(np.abs(single - expected), np.abs(batched - expected), (agreeing, len(expected)), (mine, theirs))


def threshold_of(facts: Facts) -> float:
    """Return the score from which on an image is named defective."""
    return facts.thresholds[0] if facts.thresholds else NO_THRESHOLD
