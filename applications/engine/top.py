"""Keeps the weights of the best epochs, for a soup at the end."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from optim.swa import Reached
from utils.checkpoint import load_tensors
from utils.files import write_atomically, write_text


class TopEpochs:
    """The weights of the best epochs as files of a folder, with what they reached in index.json.

    The files are the memory: a resumed run goes on with them.

    Args:
        folder: where the files lie; made with the first one.
        count: how many are kept.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count

    def offer(self, epoch: int, reached: Reached, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of an epoch if they are among the best, and drop those that no longer are."""
        # Later epochs were left behind by a resumption from before them.
        index = {key: value for key, value in self._index().items() if key < epoch} | {epoch: reached}
        best = sorted(index, key=lambda key: (index[key], key), reverse=True)[: self.count]
        if epoch in best:
            self.folder.mkdir(exist_ok=True)
            write_atomically(self._file(epoch), lambda place: torch.save(dict(weights), place))
        write_text(self.folder / "index.json", json.dumps({key: list(index[key]) for key in sorted(best)}))
        kept = {self._file(key) for key in best}
        for file in set(self.folder.glob("epoch-*.pt")) - kept:
            file.unlink()

    def ranked(self) -> list[int]:
        """Return the epochs kept, the best first."""
        index = self._index()
        return sorted(index, key=lambda key: (index[key], key), reverse=True)

    def load(self, epoch: int) -> dict[str, Tensor]:
        """Return the weights of an epoch, on the CPU."""
        return load_tensors(self._file(epoch))

    def _file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.pt"

    def _index(self) -> dict[int, Reached]:
        path = self.folder / "index.json"
        if not path.is_file():
            return {}
        return {int(key): (first, second) for key, (first, second) in json.loads(path.read_text(encoding="utf-8")).items()}
