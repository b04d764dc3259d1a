"""--predict of a segmenter: a folder of masks, overlays, outlines in COCO's JSON, and areas."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from applications.assemble import Machine
from applications.contract import Task
from applications.prediction.answer_inputs import answer_inputs
from applications.prediction.file_names import FileNames
from applications.prediction.input_chunks import InputChunk
from applications.settings.options import SingleImageOptions
from applications.tasks.segment import Segment
from applications.trained.checkpoint import Trained
from applications.trained.masks import ImageSegmenter, is_tiled
from dataloader.sources.frames import Frame
from dataloader.sources.inputs import Inputs
from dataloader.writers.outlines import region_annotations
from utils.drawing.images import write_png
from utils.drawing.mask_pictures import class_colors, laid_over, write_mask
from utils.files import new_folder, removed_on_error, write_csv, write_text
from utils.logs import log
from utils.text import counted

# Classes of this name are what lies between the objects: their outlines are of no use.
BACKGROUNDS = ("background", "ground", "_background_", "bg")


def predict_masks(trained: Trained, task: Task, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read."""
    assert isinstance(task, Segment)
    segmenter = ImageSegmenter(trained, task, machine, is_tiled(trained))
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        writer = MaskWriter(folder, trained.classes)

        def answer(chunk: InputChunk) -> None:
            for row, name in enumerate(chunk.names):
                image = chunk.picture(row)
                writer.add(name, image, segmenter.mask(image), chunk.frame(row))

        return answer_inputs(trained, inputs, options, machine, writer, answer)


@dataclass
class MaskWriter:
    """Writes masks/ and overlays/ as answers come, and tables at the end.

    Attributes:
        folder: where to.
        classes: names.
    """

    folder: Path
    classes: Sequence[str]
    areas: list[list[object]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    names: FileNames = field(default_factory=FileNames)

    def __post_init__(self) -> None:
        self.colors = class_colors(len(self.classes))
        lowered = [name.lower() for name in self.classes]
        self.background = next((number for number, name in enumerate(lowered) if name in BACKGROUNDS), -1)
        for name in ("masks", "overlays"):
            (self.folder / name).mkdir()

    @property
    def answered(self) -> int:
        """How many images were answered."""
        return len(self.images)

    def miss(self, path: str, reason: str) -> None:
        """Note an image that cannot be read."""
        self.missed.append((path, reason))

    def add(self, path: str, image: np.ndarray, mask: np.ndarray, frame: Frame | None = None) -> None:
        """Write the mask of an image, uint8 (H, W), and the image with the mask over it."""
        name = self.names.of(path, frame)
        write_mask(mask, self.colors, self.folder / "masks" / f"{name}.png")
        write_png(laid_over(image, mask, self.colors), self.folder / "overlays" / f"{name}.png")
        number, first = len(self.images) + 1, len(self.regions) + 1
        regions = region_annotations(mask, len(self.classes), image_id=number, first=first, skip=self.background)
        pixels = np.bincount(mask.ravel(), minlength=len(self.classes))[: len(self.classes)].tolist()
        # Last, and at once, so that an interruption leaves whole images in the tables.
        self.images.append({"id": number, "file_name": path, "height": mask.shape[0], "width": mask.shape[1]})
        self.regions += regions
        self.areas += [[path, each, count, f"{count / mask.size:.6f}"] for each, count in zip(self.classes, pixels, strict=True) if count]

    def close(self) -> int:
        """Write areas.csv, regions.json and, where images are missing, unreadable.csv; return the exit code."""
        write_csv(self.folder / "areas.csv", [["image", "class", "pixels", "share"], *self.areas])
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)]
        content = {"images": self.images, "annotations": self.regions, "categories": categories}
        write_text(self.folder / "regions.json", json.dumps(content) + "\n")
        rows = ([str(number), name, *map(str, color)] for number, (name, color) in enumerate(zip(self.classes, self.colors, strict=True)))
        write_csv(self.folder / "masks" / "labels.csv", [["id", "name", "r", "g", "b"], *rows])
        files = ["masks/", "overlays/", "areas.csv", "regions.json"]
        if self.missed:
            write_csv(self.folder / "unreadable.csv", [("image", "reason"), *self.missed])
            files.append("unreadable.csv")
            path, reason = self.missed[0]
            log().warning(f"{counted(len(self.missed), 'image')} cannot be read, such as {path}: {reason}")
        log().info(f"answered  {counted(len(self.images), 'image')}, {counted(len(self.regions), 'region')}")
        log().info(f"written   {self.folder} ({', '.join(files)})")
        return 1 if self.missed else 0
