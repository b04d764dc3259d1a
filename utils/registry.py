"""Tables of named things: read-only rows that a person can read, resolved on use."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError, nearest


@dataclass(frozen=True)
class Row:
    """One entry of a table: where the thing lives ('module:attribute') and what it is."""

    attribute: str
    help: str


class Table(Mapping[str, Row]):
    """A read-only mapping from a public name to a row.

    `resolve` also takes 'my_file.py:Attr' and 'package.module:Attr', so that users bring
    their own parts without touching the tree.
    """

    def __init__(self, kind: str, rows: dict[str, Row]) -> None:
        self.kind = kind
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Row:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def resolve(self, name: str) -> Any:
        """Import and return what `name` stands for.

        Raises:
            UserError: the name is neither in the table nor an importable 'file.py:Attr'.
        """
        self.check(name)
        return import_attribute(self._rows[name].attribute) if name in self._rows else import_user_code(name, self.kind)

    def check(self, name: str) -> None:
        """Look whether `name` may stand for something, without importing it.

        Raises:
            UserError: the name is neither in the table nor of the form 'file.py:Attr'.
        """
        if name not in self._rows and not is_user_code(name):
            known = ", ".join(self._rows)
            raise UserError(f"unknown {self.kind} '{name}'.{nearest(name, list(self._rows))} Known: {known}")


def import_attribute(name: str) -> Any:
    """Return what 'module:attribute' names."""
    module_name, attribute = name.split(":")
    return getattr(importlib.import_module(module_name), attribute)


def is_user_code(name: str) -> bool:
    """Whether `name` points at code of the user's own ('my_file.py:Attr')."""
    return ":" in name


def import_user_code(name: str, kind: str) -> Any:
    """Return what 'my_file.py:Attr' or 'package.module:Attr' names.

    Raises:
        UserError: the file, the module or the attribute does not exist.
    """
    place, _, attribute = name.rpartition(":")
    path = Path(place) if place.endswith(".py") else None
    if path is not None and not path.is_file():
        raise UserError(f"{kind} '{name}': there is no file {path}")
    try:
        module = _load_file(path) if path is not None else importlib.import_module(place)
    except ImportError as error:
        raise UserError(f"{kind} '{name}': cannot import {place} ({error})") from error
    if not hasattr(module, attribute):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise UserError(f"{kind} '{name}': {place} has no '{attribute}'.{nearest(attribute, public)}")
    return getattr(module, attribute)


def _load_file(path: Path) -> Any:
    """Import a Python file under its stem; the same file is imported once."""
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be read as a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered in sys.modules so that loader workers can unpickle it.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
