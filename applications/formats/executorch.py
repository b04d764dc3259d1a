"""ExecuTorch: a program for phones, boards and microcontrollers, with XNNPACK's kernels where these fit."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from applications.formats.format import Format, Holds, Opened, WriteSettings
from applications.formats.package import Package
from applications.formats.torch_export import Whole
from applications.formats.torchscript import as_arrays
from utils.errors import UserError
from utils.silence import silent_errors

# Memory is planned when the file is written, for this many images at most.
MOST_IMAGES = 8
# A method of the program without inputs, which answers its facts as the bytes of their JSON.
ENTRY = "darkroom"


class ExecuTorch(Format):
    """Images have the network's own size, since all memory is planned beforehand."""

    name = "executorch"
    suffix = ".pte"
    holds = Holds(geometry=False, half=False, masks=False)
    to_write = to_open = (Package("executorch", "executorch", 230),)

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        del settings
        try:
            with _quiet():
                content = _lowered(deployed, facts)
        except Exception as error:
            # Operators that are missing are told by errors of many types.
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"ExecuTorch cannot hold {facts.arch} ({said}); take another format") from error
        path.write_bytes(content)
        return []

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        del threads
        with _quiet():
            runtime: Any = import_module("executorch.runtime").Runtime.get()
        try:
            content = path.read_bytes()
            with silent_errors():
                program = runtime.load_program(content)
                (told,) = program.load_method(ENTRY).execute([])
                loaded = _Loaded(program.load_method("forward"), program, content)
            facts = Facts.from_json(bytes(told.tolist()).decode())
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            # The runtime's errors share no type of their own; a method that is not there is None.
            raise self.damaged(path) from error
        return Opened(facts, loaded.run)


def _lowered(deployed: Deployed, facts: Facts) -> bytes:
    """Return the program of a model, with what XNNPACK can compute handed to it."""
    exir: Any = import_module("executorch.exir")
    partitioner: Any = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    sizes = {0: Dim("n", min=1, max=MOST_IMAGES)}
    with torch.no_grad():
        module = Whole(deployed.module()).eval()
        graph = torch.export.export(module, (deployed.example(),), dynamic_shapes=(sizes,), strict=False)
    known = {ENTRY: torch.tensor(list(facts.to_json().encode()), dtype=torch.uint8)}
    lowered = exir.to_edge_transform_and_lower(graph, partitioner=[partitioner.XnnpackPartitioner()], constant_methods=known)
    return bytes(lowered.to_executorch().buffer)


@dataclass(frozen=True)
class _Loaded:
    """A method with what it reads, which it does not keep alive by itself."""

    method: Any
    program: Any
    content: bytes

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs (N, ...) for images uint8 (N, C, h, w) of the network's own size."""
        parts = (np.ascontiguousarray(images[start : start + MOST_IMAGES]) for start in range(0, len(images), MOST_IMAGES))
        # What the program answers lies in memory that the next call uses again.
        answers = [[each.copy() for each in as_arrays(tuple(self.method.execute([torch.from_numpy(part)])))] for part in parts]
        return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the packages say of each other's versions, and of processors they do not find, from the user."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), silent_errors():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
