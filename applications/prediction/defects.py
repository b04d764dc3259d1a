"""--predict of a detector of defects: scores, heat maps, masks and boxes of defects."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from applications.assemble import Machine
from applications.contract import Task
from applications.prediction.answer_inputs import answer_inputs
from applications.prediction.file_names import FileNames
from applications.prediction.input_chunks import InputChunk
from applications.settings.options import SingleImageOptions
from applications.tasks.anomaly import Anomaly, DefectAnswer, regions_of
from applications.trained.checkpoint import Trained
from applications.trained.defects import ImageAnomalyDetector
from dataloader.sources.frames import Frame
from dataloader.sources.inputs import Inputs
from utils.drawing.defect_pictures import shown_heat
from utils.drawing.images import overlay, write_png
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_atomically, write_csv, write_text
from utils.logs import log
from utils.text import counted


def predict_defects(trained: Trained, task: Task, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read.

    Raises:
        UserError: there is no threshold.
    """
    assert isinstance(task, Anomaly)
    threshold = options.reject if options.reject is not None else None if task.threshold is None else task.threshold.value
    if threshold is None:
        raise UserError(f"{trained.path} has no threshold; choose one: --reject SCORE")
    heat = ImageAnomalyDetector(trained, task, machine)
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        writer = DefectWriter(folder, threshold)

        def answer(chunk: InputChunk) -> None:
            for row, name in enumerate(chunk.names):
                image = chunk.picture(row)
                (found,) = heat.answers([image])
                writer.add(name, image, found, chunk.frame(row))

        return answer_inputs(trained, inputs, options, machine, writer, answer)


@dataclass
class DefectWriter:
    """Writes masks/ and heat/ as answers come, and tables at the end.

    Attributes:
        folder: where to.
        threshold: the score from which on images, and pixels, are defective.
    """

    folder: Path
    threshold: float
    images: list[dict[str, Any]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    names: FileNames = field(default_factory=FileNames)

    def __post_init__(self) -> None:
        for name in ("heat", "masks"):
            (self.folder / name).mkdir()

    @property
    def answered(self) -> int:
        """How many images were answered."""
        return len(self.images)

    def miss(self, path: str, reason: str) -> None:
        """Note an image that cannot be read."""
        self.missed.append((path, reason))

    def add(self, path: str, image: np.ndarray, answer: DefectAnswer, frame: Frame | None = None) -> None:
        """Write the heat map of an image over it, and the mask of its defects, white where they are."""
        name = self.names.of(path, frame)
        mask = answer.heat >= self.threshold
        write_png(overlay(image, shown_heat(answer.heat)), self.folder / "heat" / f"{name}.png")
        # One bit a pixel: seen as black and white, read as the numbers 0 and 1.
        write_atomically(self.folder / "masks" / f"{name}.png", lambda place: Image.fromarray(mask).save(place, "PNG"))
        defective = answer.score >= self.threshold
        entry = {"path": path, "score": answer.score, "answer": "defective" if defective else "good"}
        self.images.append({**entry, "defects": regions_of(mask, answer.heat)})

    def close(self) -> int:
        """Write predictions.csv, defects.json and, where images are missing, unreadable.csv; return the exit code."""
        rows = [(each["path"], f"{each['score']:.9g}", each["answer"], str(len(each["defects"]))) for each in self.images]
        write_csv(self.folder / "predictions.csv", [("path", "score", "answer", "defects"), *rows])
        content = {"threshold": self.threshold, "images": self.images}
        write_text(self.folder / "defects.json", json.dumps(content, indent=1) + "\n")
        files = ["predictions.csv", "defects.json", "heat/", "masks/"]
        if self.missed:
            write_csv(self.folder / "unreadable.csv", [("image", "reason"), *self.missed])
            files.append("unreadable.csv")
            path, reason = self.missed[0]
            log().warning(f"{counted(len(self.missed), 'image')} cannot be read, such as {path}: {reason}")
        bad = sum(each["answer"] != "good" for each in self.images)
        log().info(f"answered  {counted(len(self.images), 'image')}, {bad} defective, from the score {self.threshold:.4f} on")
        log().info(f"written   {self.folder} ({', '.join(files)})")
        return 1 if self.missed else 0
