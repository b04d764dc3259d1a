"""The contract of a kind of exported file: written from a model, opened in a runtime of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.int8 import QuantizationData, Quantized
from applications.formats.package import Package
from utils.errors import UserError


@dataclass(frozen=True)
class Holds:
    """What a format has room for.

    Attributes:
        geometry: images of any size come in, and are resized in the file.
        half: the network in 16-bit floating point.
        outputs: more than the probabilities.
        facts: class names and all else that a program needs to know, in the file itself.
        opset: the version of its operators can be chosen.
        int8: the network in 8-bit integers.
        masks: answers that are not labels: masks, boxes, defects.
        suppression: the choice among overlapping boxes.
    """

    geometry: bool = True
    half: bool = True
    outputs: bool = True
    facts: bool = True
    opset: bool = False
    int8: bool = False
    masks: bool = True
    suppression: bool = False


# Images uint8 (N, 3, h, w) -> the outputs of the file in their order: probabilities (N, C) first, float32.
Run = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Opened:
    """An exported file in its runtime."""

    facts: Facts
    run: Run


@dataclass(frozen=True)
class WriteSettings:
    """What the user chose beside the model.

    Attributes:
        opset: version of ONNX's operators; None leaves it to the exporter.
    """

    opset: int | None = None


class Format(ABC):
    """A kind of exported file.

    Attributes:
        name: its row.
        suffix: how its file, or its folder, is called behind the stem.
        holds: what it has room for.
        in_demo: the programs of demos/ open it.
        portable: its files run wherever their runtime does, so that --export best tries it.
        to_write, to_open: packages that it needs beside torch.
    """

    name: str
    suffix: str
    holds = Holds()
    in_demo = False
    portable = False
    to_write: tuple[Package, ...] = ()
    to_open: tuple[Package, ...] = ()

    @abstractmethod
    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        """Write the model to `path`, and what else belongs to it beside that; return what the user should know."""

    @abstractmethod
    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        """Read a file into its runtime, on the CPU.

        Raises:
            UserError: it is damaged, or no file that Darkroom wrote.
        """

    def quantize(self, path: Path, calibration: QuantizationData) -> Quantized:
        """Bring a written file to 8-bit integers, in place."""
        raise NotImplementedError(f"{self.name} holds no int8")

    def inner_values(self, path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield what the file computes on the way, in its order, as arrays; nothing where that cannot be seen."""
        del path, images
        return iter(())

    def files(self, path: Path) -> list[Path]:
        """Return what belongs to a written file: itself, and weights that lie beside it."""
        return [path]

    def recognizes(self, path: Path) -> bool:
        """Whether a file has the name of this format."""
        return path.name.endswith(self.suffix)

    def damaged(self, path: Path) -> UserError:
        """Return the error for a file that cannot be read."""
        return UserError(f"{path} is damaged or incomplete, or was not written by Darkroom; write it again with --export {self.name}")
