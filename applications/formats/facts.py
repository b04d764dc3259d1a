"""What an exported file says of itself."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dataloader.images.preprocess import Preprocess
from utils.errors import UserError
from utils.metrics.calibration import Calibration
from utils.registry import is_user_code

# Name of the entry in a file, or of the file beside it.
FACTS = "darkroom.json"
FORMAT = 1
KERNEL = (
    "bilinear with antialiasing on 8-bit values: weights of 16 bits, rows first, rounded to 8 bits after each direction, as "
    "torch.nn.functional.interpolate(antialias=True) of uint8 images on the CPU"
)


@dataclass(frozen=True)
class BoxFacts:
    """Which of its boxes a detector answers.

    Attributes:
        confidence: least score.
        overlap: of two boxes of a class that overlap more than this, the one of lower score is dropped.
        most: boxes of an image.
        agnostic: boxes drop those of other classes, too.
    """

    confidence: float
    overlap: float
    most: int
    agnostic: bool


@dataclass(frozen=True)
class Facts:
    """What a program needs to know of an exported model; JSON in the file.

    Attributes:
        arch: name of the network.
        task: name of the task.
        classes: names, in the order of the probabilities.
        preprocess: what is done to images before the network.
        activation: 'softmax' or 'sigmoid', applied in the file; 'none' where it answers scores.
        temperature: divides the logits, in the file.
        thresholds: probability from which on each class is named; None where the most probable one is the answer.
        reject: probability below which an answer of each class does not count, or None.
        source: checkpoint and epoch.
        checkpoint_sha256: of the checkpoint's file.
        exported_as: row of FORMATS.
        precision: 'fp32', 'half' or 'int8'.
        any_size: images of any size come in, and geometry is done in the file; else images of `image_size`.
        outputs: names of what comes out, 'probabilities' or 'score' first.
        versions: of Python and of the packages that wrote the file.
        boxes: which boxes are answered, chosen in the file where it answers 'classes', else by the caller; None where there are none.
    """

    arch: str
    task: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    activation: str
    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    reject: tuple[float, ...] | None = None
    source: str = ""
    checkpoint_sha256: str = ""
    exported_as: str = "torchscript"
    precision: str = "fp32"
    any_size: bool = True
    outputs: tuple[str, ...] = ("probabilities",)
    versions: Mapping[str, str] = field(default_factory=dict)
    boxes: BoxFacts | None = None

    @property
    def chooses_boxes(self) -> bool:
        """Whether boxes are chosen in the file, which then names their classes."""
        return "classes" in self.outputs

    @property
    def calibration(self) -> Calibration:
        """What was chosen on validation images; the temperature is part of the file."""
        return Calibration(self.temperature, self.thresholds, self.reject)

    def to_json(self) -> str:
        """Return the facts as JSON; a name that has no value is left out."""
        plain = {name: value for name, value in asdict(self).items() if value is not None and name != "preprocess"}
        bands = self.preprocess.bands
        height, width = ("h", "w") if self.any_size else self.preprocess.image_size
        inputs = [{"name": "images", "type": "uint8", "shape": ["n", bands, height, width], "channels": "RGB" if bands == 3 else "RGBA"}]
        return json.dumps({"format": FORMAT, **plain, **self.preprocess.to_dict(), "inputs": inputs, "kernel": KERNEL})

    @staticmethod
    def from_json(text: str) -> "Facts":
        """Return what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it makes no sense.
            UserError: it is of a later version.
        """
        content = json.loads(text)
        if content["format"] > FORMAT:
            raise UserError(
                f"the file was written by a later Darkroom (format {content['format']}, this one reads {FORMAT}); update Darkroom"
            )
        numbers = {item.name: content[item.name] for item in fields(Preprocess) if item.name in content}
        # Its default would be a wrong answer where a file has lost it.
        if "temperature" not in content:
            raise KeyError("temperature")
        known = {item.name for item in fields(Facts)} - {"preprocess"}
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items() if key in known}
        # Files that were written before the task stood in them have thresholds where an image may have several labels.
        plain.setdefault("task", "multilabel" if "thresholds" in content else "classify")
        if is_user_code(plain["task"]):
            raise ValueError(f"a file does not name code to run: {plain['task']}")
        if "boxes" in plain:
            plain["boxes"] = BoxFacts(**plain["boxes"])
        return Facts(**plain, preprocess=Preprocess.from_dict(numbers))
