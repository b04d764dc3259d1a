"""The folder that --predict writes for boxes: tables in the formats of other programs, copies with frames, cut-outs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from applications.prediction.file_names import FileNames
from applications.tasks.box_answers import BoxAnswer
from dataloader.sources.frames import Frame
from utils.drawing.box_pictures import cut_out, framed
from utils.drawing.film import FilmWriter
from utils.drawing.images import write_png
from utils.drawing.mask_pictures import class_colors
from utils.files import write_csv, write_text
from utils.logs import log
from utils.text import counted


@dataclass
class BoxWriter:
    """Writes boxes.csv, boxes.json, coco.json and labels/ (YOLO), and where asked for annotated/ and cut_outs/.

    Attributes:
        folder: where to.
        classes: names.
        annotate: write copies of the images with frames.
        cut_outs: write what each box shows.
    """

    folder: Path
    classes: Sequence[str]
    annotate: bool = False
    cut_outs: bool = False
    rows: list[list[object]] = field(default_factory=list)
    plain: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    names: FileNames = field(default_factory=FileNames)
    film: FilmWriter | None = None
    filmed: str = ""

    def __post_init__(self) -> None:
        self.colors = class_colors(len(self.classes))
        for name, wanted in (("labels", True), ("annotated", self.annotate), ("cut_outs", self.cut_outs)):
            if wanted:
                (self.folder / name).mkdir()

    @property
    def answered(self) -> int:
        """How many images were answered."""
        return len(self.images)

    def miss(self, path: str, reason: str) -> None:
        """Note an image that cannot be read."""
        self.missed.append((path, reason))

    def add(self, path: str, image: np.ndarray, answer: BoxAnswer, frame: Frame | None = None) -> None:
        """Take the boxes of an image, uint8 (H, W, 3), which may be a frame of a video."""
        height, width = image.shape[:2]
        name, number = self.names.of(path, frame), len(self.images) + 1
        place = {} if frame is None else {"video": frame.source, "frame": frame.number, "seconds": round(frame.seconds, 3)}
        rows, annotations, found, lines = [], [], [], []
        for corners, score, label in zip(answer.corners.tolist(), answer.scores.tolist(), answer.classes.tolist(), strict=True):
            left, top, right, bottom = (round(value, 2) for value in corners)
            rows.append([path, self.classes[label], f"{score:.6f}", left, top, right, bottom, place.get("frame", "")])
            found.append({"class": self.classes[label], "score": round(score, 6), "box": [left, top, right, bottom]})
            annotations.append(
                {
                    "id": len(self.annotations) + len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                    "area": round((right - left) * (bottom - top), 2),
                    "iscrowd": 0,
                    "score": round(score, 6),
                }
            )
            middle = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
            lines.append(" ".join([str(label), *(f"{value:.6f}" for value in middle), f"{score:.6f}"]))
        write_text(self.folder / "labels" / f"{name}.txt", "".join(f"{line}\n" for line in lines))
        self._draw(name, image, answer, frame)
        # Last, and at once, so that an interruption leaves whole images in the tables.
        self.images.append({"id": number, "file_name": path, "height": height, "width": width, **place})
        self.plain.append({"path": path, "width": width, "height": height, **place, "boxes": found})
        self.rows += rows
        self.annotations += annotations

    def _draw(self, name: str, image: np.ndarray, answer: BoxAnswer, frame: Frame | None) -> None:
        """Write the pictures of an image that are asked for."""
        labels = answer.classes.tolist()
        if self.annotate:
            texts = [f"{self.classes[label]} {score:.2f}" for label, score in zip(labels, answer.scores.tolist(), strict=True)]
            picture = framed(image, answer.corners, [self.colors[label].tolist() for label in labels], texts)
            if frame is None:
                write_png(picture, self.folder / "annotated" / f"{name}.png")
            else:
                self._film_of(frame).add(picture)
        for number, label in enumerate(labels if self.cut_outs else (), start=1):
            # A name of a class may not be one of a folder.
            safe = "".join(letter if letter.isalnum() or letter in " ._-" else "_" for letter in self.classes[label])
            place = self.folder / "cut_outs" / f"{label}-{safe}"
            place.mkdir(exist_ok=True)
            write_png(cut_out(image, answer.corners[number - 1]), place / f"{name}-{number}.png")

    def _film_of(self, frame: Frame) -> FilmWriter:
        """Return the annotated copy of the video of a frame; videos come one after the other."""
        if self.film is None or self.filmed != frame.source:
            self._end_film()
            name = self.names.of(frame.source)
            self.film, self.filmed = FilmWriter(self.folder / "annotated" / f"{name}.mp4", frame.rate), frame.source
        return self.film

    def _end_film(self) -> None:
        if self.film is not None:
            self.film.close()

    def close(self) -> int:
        """Write the tables and, where images are missing, unreadable.csv; return the exit code."""
        self._end_film()
        write_csv(self.folder / "boxes.csv", [["image", "class", "score", "left", "top", "right", "bottom", "frame"], *self.rows])
        unreadable = [{"path": path, "reason": reason} for path, reason in self.missed]
        write_text(self.folder / "boxes.json", json.dumps({"images": self.plain, "unreadable": unreadable}, indent=1) + "\n")
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        write_text(self.folder / "coco.json", json.dumps(content) + "\n")
        write_text(self.folder / "classes.txt", "".join(f"{name}\n" for name in self.classes))
        files = ["boxes.csv", "boxes.json", "coco.json", "labels/", "classes.txt"]
        files += [f"{name}/" for name, wanted in (("annotated", self.annotate), ("cut_outs", self.cut_outs)) if wanted]
        if self.missed:
            write_csv(self.folder / "unreadable.csv", [("image", "reason"), *self.missed])
            files.append("unreadable.csv")
            path, reason = self.missed[0]
            log().warning(f"{counted(len(self.missed), 'image')} cannot be read, such as {path}: {reason}")
        log().info(f"answered  {counted(len(self.images), 'image')}, {counted(len(self.rows), 'box', 'boxes')}")
        log().info(f"written   {self.folder} ({', '.join(files)})")
        return 1 if self.missed else 0
