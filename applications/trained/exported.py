"""An exported model read back: a file of any format in its own runtime, with the facts that stand in it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from applications.formats import FORMATS, build_format
from applications.formats.contract import Format, Opened
from applications.formats.facts import FACTS, Facts
from applications.formats.package import check_installed
from applications.formats.torchscript import TorchScript, load
from dataloader.images.preprocess import Preprocess, fit_images
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        path: its file.
        module: images in 0..255, (N, 3, h, w) of any size -> probabilities (N, C).
        facts: what the file says of itself.
    """

    path: Path
    module: nn.Module
    facts: Facts

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

    def describe(self) -> str:
        """Return which file this is."""
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

    def forward(self, images: Tensor) -> Tensor:
        pixels = images if images.dtype == torch.uint8 else images.round().clamp(0, 255).to(torch.uint8)
        if not self.opened.facts.any_size:
            numbers = self.opened.facts.preprocess
            pixels = fit_images(pixels, *numbers.image_size, numbers.resize)
        return torch.from_numpy(self.opened.run(pixels.cpu().contiguous().numpy())[0]).to(images.device)


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
        module, facts = load(path, device)
        return Exported(path, FirstOutput(module).eval() if len(facts.outputs) > 1 else module, facts)
    check_installed(found.name, found.to_open)
    opened = found.open(path)
    return Exported(path, InRuntime(opened).eval(), opened.facts)
