"""Packages that a format cannot do without."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from utils.errors import UserError


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


def check_installed(name: str, packages: Sequence[Package]) -> None:
    """Raise UserError, with the line for pip, when a package of a format is missing."""
    missing = [package for package in dict.fromkeys(packages) if importlib.util.find_spec(package.module) is None]
    if missing:
        names, size = [package.name for package in missing], sum(package.megabytes for package in missing)
        raise UserError(f"the format {name} needs {' and '.join(names)}, about {size} MB: pip install {' '.join(names)}")
