"""The contract of a kind of exported file: written from a model, opened in a runtime of its own."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
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
    """

    geometry: bool = True
    half: bool = True
    outputs: bool = True
    facts: bool = True
    opset: bool = False


@dataclass(frozen=True)
class Package:
    """A package that a format cannot do without.

    Attributes:
        module: by which it is imported.
        name: by which pip knows it.
        megabytes: what it takes on the disk, without what Darkroom needs anyway.
    """

    module: str
    name: str
    megabytes: int


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
        to_write, to_open: packages that it needs beside torch.
    """

    name: str
    suffix: str
    holds = Holds()
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

    def inner_values(self, path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
        """Yield what the file computes on the way, in its order, as arrays; nothing where that cannot be seen."""
        del path, images
        return iter(())

    def recognizes(self, path: Path) -> bool:
        """Whether a file has the name of this format."""
        return path.name.endswith(self.suffix)

    def damaged(self, path: Path) -> UserError:
        """Return the error for a file that cannot be read."""
        return UserError(f"{path} is damaged or incomplete, or was not written by Darkroom; write it again with --export {self.name}")


def check_installed(name: str, packages: Sequence[Package]) -> None:
    """Raise UserError, with the line for pip, when a package of a format is missing."""
    missing = [package for package in packages if importlib.util.find_spec(package.module) is None]
    if missing:
        names, size = [package.name for package in missing], sum(package.megabytes for package in missing)
        raise UserError(f"the format {name} needs {' and '.join(names)}, about {size} MB: pip install {' '.join(names)}")
