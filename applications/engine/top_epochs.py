"""Keeps the best epochs: their weights for a soup at the end, or checkpoints to choose from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optim.swa import Reached
from utils.checkpoint import load_tensors
from utils.files import write_atomically, write_text


class TopEpochs:
    """The weights of the best epochs as files in a folder, with their scores in index.json.

    The files are the only state: a resumed run continues with them.

    Args:
        folder: of the files; created with the first one.
        count: how many are kept.
        prefix: of the names of the files.
        index: name of the file with their scores.
    """

    def __init__(self, folder: Path, count: int, *, prefix: str = "epoch", index: str = "index.json") -> None:
        self.folder = folder
        self.count = count
        self.prefix = prefix
        self.index = index

    def offer(self, epoch: int, reached: Reached, weights: Mapping[str, Any]) -> None:
        """Keep the weights of an epoch, or a checkpoint with them, if they are among the best, and remove those that no longer are."""
        # Epochs after the resumed one belong to the abandoned part of the run.
        index = {key: value for key, value in self._index().items() if key < epoch} | {epoch: reached}
        best = sorted(index, key=lambda key: (index[key], key), reverse=True)[: self.count]
        if epoch in best:
            self.folder.mkdir(exist_ok=True)
            write_atomically(self._file(epoch), lambda place: torch.save(dict(weights), place))
        write_text(self.folder / self.index, json.dumps({key: list(index[key]) for key in sorted(best)}))
        kept = {self._file(key) for key in best}
        for file in set(self.folder.glob(f"{self.prefix}-*.pt")) - kept:
            file.unlink()

    def ranked(self) -> list[int]:
        """Return the epochs kept, the best first."""
        index = self._index()
        return sorted(index, key=lambda key: (index[key], key), reverse=True)

    def load(self, epoch: int) -> dict[str, Tensor]:
        """Return the weights of an epoch, on the CPU."""
        return load_tensors(self._file(epoch))

    def _file(self, epoch: int) -> Path:
        return self.folder / f"{self.prefix}-{epoch:04d}.pt"

    def _index(self) -> dict[int, Reached]:
        path = self.folder / self.index
        if not path.is_file():
            return {}
        return {int(key): (first, second) for key, (first, second) in json.loads(path.read_text(encoding="utf-8")).items()}
