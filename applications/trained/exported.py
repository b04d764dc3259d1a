"""An exported model read back: the TorchScript module with the facts that stand in its file."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dataloader.images.preprocess import Preprocess
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target
from utils.errors import UserError


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: its file.
        module: images in 0..255, (N, 3, h, w) of any size -> probabilities (N, C).
        classes: names, in the order of the answers.
        preprocess: what the module does to images first.
        activation: 'softmax' or 'sigmoid'.
        target: what it says of an image.
        temperature: by which its logits were divided.
    """

    path: Path
    module: torch.jit.ScriptModule
    classes: tuple[str, ...]
    preprocess: Preprocess
    activation: str
    target: type[Target]
    temperature: float

    def describe(self) -> str:
        """Return which file this is."""
        return f"exported file, {len(self.classes)} classes, {self.path}"


def is_exported(place: str) -> bool:
    """Whether the file is one that --jit wrote."""
    path = Path(place)
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(f"extra/{EXTRA_FILE}") for name in archive.namelist())


def load_exported(path: Path, device: torch.device) -> Exported:
    """Read an exported file.

    Raises:
        UserError: the file is damaged.
    """
    extra = {EXTRA_FILE: ""}
    try:
        module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
        facts: Mapping[str, Any] = json.loads(extra[EXTRA_FILE])
        # Files that were written before it was known lack the last one.
        numbers = {name: facts.get(name) for name in ("image_size", "resize", "mean", "std", "white")}
        classes, activation, temperature = tuple(facts["classes"]), str(facts["activation"]), float(facts["temperature"])
        preprocess = Preprocess.from_dict(numbers)
        target = Labels if "thresholds" in facts else Label
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged or incomplete; convert the model again with --jit") from error
    return Exported(path, module.eval(), classes, preprocess, activation, target, temperature)


EXTRA_FILE = "darkroom.json"
