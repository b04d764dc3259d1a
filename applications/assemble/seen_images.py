"""Which images a model and those it learned from were trained on, so that no figure on such images passes for one on new ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

from dataloader.splits.content_hash import VERSION, content_hashes, count_known
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.files import write_atomically

# In a checkpoint.
TRAINED_ON = "trained_on"
BESIDE = ".trained_on.npz"
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Seen:
    """Content hashes of training images, int64, sorted, each once.

    Attributes:
        own: those that the model was trained on.
        parents: those of the models that it began from or learned from.
    """

    own: np.ndarray
    parents: np.ndarray

    def everything(self) -> np.ndarray:
        """Return the hashes of both."""
        return np.union1d(self.own, self.parents)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors for a checkpoint, 8 bytes an image, and the version of the hash."""
        return {"version": VERSION, "own": torch.from_numpy(self.own), "parents": torch.from_numpy(self.parents)}


class Overlap(NamedTuple):
    """How many of some images were training images: of the model, and else only of those it learned from."""

    own: int
    parents: int


def read_seen(content: object) -> Seen | None:
    """Return what the content of a checkpoint says; None where it says nothing, as other programs' weights do.

    Hashes of another version say nothing either: they would equal none, and look like new images.
    """
    saved = content.get(TRAINED_ON) if isinstance(content, Mapping) else None
    return None if saved is None or saved.get("version") != VERSION else Seen(saved["own"].numpy(), saved["parents"].numpy())


def write_beside(file: Path, seen: Seen | None) -> None:
    """Write the hashes of the model behind a sidecar into a file beside it; without any, none is left there."""
    place = file.with_suffix(BESIDE)
    if seen is None:
        place.unlink(missing_ok=True)
        return

    def write(temporary: Path) -> None:
        with temporary.open("wb") as opened:
            np.savez(opened, version=VERSION, hashes=seen.everything())

    write_atomically(place, write)


def read_beside(file: Path) -> np.ndarray | None:
    """Return the hashes that `write_beside` wrote for a sidecar; None where there are none, or those of another version.

    Raises:
        UserError: the file is damaged.
    """
    place = file.with_suffix(BESIDE)
    if not place.is_file():
        return None
    try:
        with place.open("rb") as opened, np.load(opened, allow_pickle=False) as found:
            return found["hashes"].astype(np.int64) if found["version"] == VERSION else None
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, BadZipFile) as error:
        raise UserError(f"{place} is damaged ({error}); write the file next to it again, or remove it") from error


def overlap(seen: Seen | None, split: Split) -> Overlap | None:
    """Return how many images of a split were trained on; None where nothing is known."""
    if seen is None:
        return None
    hashes = content_hashes(split)
    own = count_known(hashes, seen.own)
    return Overlap(own, count_known(hashes, seen.everything()) - own)


def describe_overlap(found: Overlap | None, count: int, name: str, *, model: str) -> list[str]:
    """Return warnings about images that were trained on, a line each.

    Args:
        found: how many.
        count: images in all.
        name: of their split.
        model: how to call the model.
    """
    if found is None:
        return []
    said = f"of {count} {name} images were training images of"
    lines = [f"leakage: {found.own} {said} {model}: its figures on them are too good"] if found.own else []
    if found.parents:
        lines.append(f"leakage: {found.parents} {said} the models that {model} began from or learned from: its figures are too good")
    return lines
