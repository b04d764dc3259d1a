"""An exported model read back: a file of any format in its own runtime, with the facts that stand in it."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from applications.formats import FORMATS, build_format
from applications.formats.facts import FACTS, Facts
from applications.formats.format import Format, Opened
from applications.formats.package import check_installed
from applications.formats.torchscript import TorchScript, load
from dataloader.images.preprocess import Preprocess, fit_images
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target
from utils.errors import UserError

# The first output of a classifier's file.
PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: its file.
        all_outputs: images in 0..255, (N, 3, h, w) of any size -> probabilities (N, C), or a tuple of all that the file answers.
        facts: what the file says of itself.
    """

    path: Path
    all_outputs: nn.Module
    facts: Facts

    @property
    def module(self) -> nn.Module:
        """Images in 0..255, (N, 3, h, w) of any size -> probabilities (N, C)."""
        return FirstOutput(self.all_outputs).eval()

    def ask(self, images: Tensor) -> dict[str, Tensor]:
        """Return all that the file answers, name -> (N, ...): 'probabilities', and what else it was written with."""
        outputs = self.all_outputs(images)
        return dict(zip(self.facts.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the answers."""
        return self.facts.classes

    @property
    def preprocess(self) -> Preprocess:
        """What is done to images first."""
        return self.facts.preprocess

    @property
    def activation(self) -> str:
        """'softmax' or 'sigmoid'."""
        return self.facts.activation

    @property
    def target(self) -> type[Target]:
        """What it says of an image."""
        return Label if self.facts.thresholds is None else Labels

    @property
    def temperature(self) -> float:
        """By which its logits were divided."""
        return self.facts.temperature

    def bytes(self) -> int:
        """Return how much room the file takes, with what belongs to it, such as the weights of OpenVINO."""
        files = build_format(self.facts.exported_as).files(self.path)
        places = [place for file in files for place in (file.rglob("*") if file.is_dir() else [file])]
        return sum(place.stat().st_size for place in places if place.is_file())

    def describe(self) -> str:
        """Return format, classes and path of the file, for messages."""
        return f"exported file ({self.facts.exported_as}), {len(self.classes)} classes, {self.path}"


class FirstOutput(nn.Module):
    """The probabilities alone, of a file that answers more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.module(images)
        return outputs[0] if isinstance(outputs, tuple) else outputs


class InRuntime(nn.Module):
    """A file of another runtime as a module: it computes on the CPU, and on whole numbers."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self.opened = opened

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pixels = images if images.dtype == torch.uint8 else images.round().clamp(0, 255).to(torch.uint8)
        if not self.opened.facts.any_size:
            numbers = self.opened.facts.preprocess
            pixels = fit_images(pixels, *numbers.image_size, numbers.resize)
        return tuple(torch.from_numpy(each).to(images.device) for each in self.opened.run(pixels.cpu().contiguous().numpy()))


class ExportedAnswers(nn.Module):
    """An exported file that is no classifier: images in 0..255, (N, 3, H, W), to all that it says, such as scores and maps."""

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self.exported = exported

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(images.device.type, enabled=False):
            return tuple(self.exported.ask(images).values())


class ExportedNetwork(nn.Module):
    """An exported file in the place of a network: images in 0..255, (N, 3, H, W), to logits (N, C).

    The logits are found from the probabilities, up to what makes no difference to these, and before the temperature.
    """

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self.exported = exported
        self._listening: list[list[Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.look(images)[PROBABILITIES], self.exported)

    def look(self, images: Tensor) -> dict[str, Tensor]:
        """Return all that the file answers, by name."""
        # A file has a precision of its own.
        with torch.autocast(images.device.type, enabled=False):
            outputs = self.exported.ask(images)
        for read in self._listening:
            read.append(outputs["features"])
        return outputs

    @contextmanager
    def features(self) -> Iterator[list[Tensor]]:
        """Give a list to which every pass inside the block adds what the classifier reads, (N, D).

        Raises:
            UserError: the file does not tell.
        """
        if "features" not in self.exported.facts.outputs:
            raise UserError(f"{self.exported.path} does not tell what the classifier reads; write it --with_features, or give its run")
        read: list[Tensor] = []
        self._listening.append(read)
        try:
            yield read
        finally:
            self._listening.remove(read)


def logits_of(probabilities: Tensor, exported: Exported) -> Tensor:
    """Return logits (N, C) whose probabilities, at the temperature of the file, are these."""
    probabilities = probabilities.float()
    # The smallest float above zero: a probability that underflowed has no logarithm.
    logits = probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
    if exported.activation == "sigmoid":
        logits = logits - (1 - probabilities).clamp(min=torch.finfo(torch.float32).eps).log()
    return logits * exported.temperature


def find_format(path: Path) -> Format | None:
    """Return the format of an exported file or folder, by its name; None where it is of none."""
    if not path.exists():
        return None
    return next((found for found in map(build_format, FORMATS) if found.recognizes(path)), None)


def is_exported(place: str) -> bool:
    """Whether the file is one that --export wrote, rather than a checkpoint."""
    path = Path(place)
    found = find_format(path)
    if not isinstance(found, TorchScript):
        return found is not None
    # Checkpoints have the same ending.
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(f"extra/{FACTS}") for name in archive.namelist())


def load_exported(path: Path, device: torch.device) -> Exported:
    """Read an exported file.

    Raises:
        UserError: the file is damaged or foreign, or its runtime is not installed.
    """
    found = find_format(path)
    assert found is not None, "is_exported was asked"
    if isinstance(found, TorchScript):
        return Exported(path, *load(path, device))
    check_installed(found.name, found.to_open)
    opened = found.open(path)
    return Exported(path, InRuntime(opened).eval(), opened.facts)
