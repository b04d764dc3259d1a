"""The folder that --predict writes for labels: tables of answers, annotated copies, features."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from applications.settings.options import SingleImageOptions
from applications.tasks.label_answers import LabelAnswer
from utils.drawing.images import enlarged
from utils.drawing.lettering import Pen
from utils.files import write_atomically, write_csv, write_text
from utils.logs import log
from utils.terminal_tables import print_table
from utils.text import counted, printable

ROWS_ON_SCREEN = 40
REASONS_ON_SCREEN = 20
# Smaller images are enlarged, so that the answer can be read beside them.
LEAST_SIDE = 160


@dataclass(frozen=True, eq=False)
class ImageAnswer:
    """What the model says of an image.

    Attributes:
        path: of the file, or of the frame.
        said: probabilities, and the classes that it names.
        features: what its classifier reads (F,), where these are wanted.
    """

    path: str
    said: LabelAnswer
    features: np.ndarray | None = None


class LabelWriter:
    """Collects answers, and writes predictions.csv, predictions.json and what else was asked for.

    Args:
        folder: where to.
        classes: names, in the order of the probabilities.
        options: what is wanted.
        reject: probabilities (C,) below which a class is not named; None names it at any.
        source: which model answers.
    """

    def __init__(
        self, folder: Path, classes: Sequence[str], options: SingleImageOptions, *, reject: Sequence[float] | None, source: str
    ) -> None:
        self.folder = folder
        self.classes = tuple(classes)
        self.options = options
        self.reject = reject
        self.source = source
        self.answers: list[ImageAnswer] = []
        self.missed: list[tuple[str, str]] = []

    def add(self, answer: ImageAnswer, picture: np.ndarray | None) -> None:
        """Take the answer of an image, with the image itself where a copy is wanted."""
        if picture is not None:
            self._annotate(answer, picture, len(self.answers) + 1)
        # Last, and at once, so that an interruption leaves whole images in the tables.
        self.answers.append(answer)

    @property
    def answered(self) -> int:
        """How many images were answered."""
        return len(self.answers)

    def miss(self, path: str, reason: str) -> None:
        """Note an image that could not be read."""
        self.missed.append((path, reason))

    def close(self) -> int:
        """Write everything, say what there is; return the exit code."""
        answered = [[self.classes[label] for label in answer.said.labels(self.reject)] for answer in self.answers]
        rows = [
            [answer.path, ";".join(names), *(f"{p:.9g}" for p in answer.said.probabilities.tolist())]
            for answer, names in zip(self.answers, answered, strict=True)
        ]
        write_csv(self.folder / "predictions.csv", [["path", "predicted", *self.classes], *rows])
        content = {"checkpoint": self.source, "reject": self.reject, "images": [self._plain(answer) for answer in self.answers]}
        content["unreadable"] = [{"path": path, "reason": reason} for path, reason in self.missed]
        write_text(self.folder / "predictions.json", json.dumps(content, indent=1) + "\n")
        files = ["predictions.csv", "predictions.json"]
        if self.options.annotate and self.answers:
            files.append("annotated/")
        features = [answer.features for answer in self.answers if answer.features is not None]
        if features:
            self._write_features(self.folder / "features.npz", features)
            files.append("features.npz")
        self._say(answered, files)
        return 1 if self.missed else 0

    def _top(self, answer: ImageAnswer) -> list[tuple[str, float]]:
        return [(self.classes[label], float(answer.said.probabilities[label])) for label in answer.said.ranked()[: self.options.top_k]]

    def _plain(self, answer: ImageAnswer) -> dict[str, object]:
        labels = [(self.classes[label], float(answer.said.probabilities[label])) for label in answer.said.labels(self.reject)]
        lists = {"labels": labels, "top": self._top(answer)}
        named = {key: [{"label": name, "probability": share} for name, share in pairs] for key, pairs in lists.items()}
        return {"path": answer.path, **named}

    def _write_features(self, path: Path, features: Sequence[np.ndarray]) -> None:
        # Text of any length and any bytes, without pickles.
        paths = np.array([answer.path.encode(errors="replace").decode() for answer in self.answers])

        def save(place: Path) -> None:
            with place.open("wb") as file:
                np.savez_compressed(file, features=np.stack(features), paths=paths)

        write_atomically(path, save)

    def _annotate(self, answer: ImageAnswer, picture: np.ndarray, number: int) -> None:
        folder = self.folder / "annotated"
        folder.mkdir(exist_ok=True)
        names = {self.classes[label] for label in answer.said.labels(self.reject)}
        top = self._top(answer)
        # The best guess helps a person who has to look.
        lines = [f"{name}: {share:.1%}" for name, share in top if name in names] or ["no answer", f"({top[0][0]}: {top[0][1]:.1%})"]
        stem = Path(answer.path.partition("#")[0]).stem.encode(errors="replace").decode()
        path = folder / f"{number:05}-{stem}.jpg"
        write_atomically(path, lambda place: annotated(enlarged(picture, LEAST_SIDE), lines).save(place, "JPEG", quality=90))

    def _say(self, answered: list[list[str]], files: list[str]) -> None:
        header = ["image", "answer", f"the {min(self.options.top_k, len(self.classes))} most probable"]
        rows = []
        for answer, names in list(zip(self.answers, answered, strict=True))[:ROWS_ON_SCREEN]:
            shares = "  ".join(f"{name}: {share:.1%}" for name, share in self._top(answer))
            rows.append([printable(answer.path), ", ".join(names) or "-", shares])
        if self.answers:
            print_table(header, rows, left=header)
        if len(self.answers) > ROWS_ON_SCREEN:
            log().info(f"... and {len(self.answers) - ROWS_ON_SCREEN} more in predictions.csv")
        for path, reason in self.missed[:REASONS_ON_SCREEN]:
            log().warning(f"cannot read {printable(path)}: {reason}")
        if len(self.missed) > REASONS_ON_SCREEN:
            log().warning(f"... and {len(self.missed) - REASONS_ON_SCREEN} more in predictions.json")
        empty = sum(not names for names in answered)
        tail = f", {empty} without an answer" if empty else ""
        log().info(f"{counted(len(self.answers), 'image')}{tail}, {len(self.missed)} unreadable")
        if empty and self.reject is not None and self.options.reject is None:
            log().info(f"{empty} refused by the thresholds that --calibrate stored in the checkpoint; --reject 0 turns these off")
        log().info(f"written   {self.folder} ({', '.join(files)})")


def annotated(picture: np.ndarray, lines: Sequence[str]) -> Image.Image:
    """Return the image, uint8 (H, W, 3), with lines of text on a dark strip below."""
    image = Image.fromarray(picture)
    size = max(11, min(36, image.width // 18))
    measure = Pen(ImageDraw.Draw(image), size)
    strip = round(len(lines) * size * 1.35 + size * 0.6)
    width = max(image.width, round(max(measure.width(line) for line in lines) + size))
    paper = Image.new("RGB", (width, image.height + strip), (24, 26, 28))
    paper.paste(image, ((width - image.width) // 2, 0))
    pen = Pen(ImageDraw.Draw(paper), size)
    for number, line in enumerate(lines):
        pen.write((size // 2, image.height + round(size * (0.3 + 1.35 * number))), line, fill=(240, 240, 240))
    return paper
