"""torch.export: a graph of the operators of PyTorch."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import Interpreter, Node

from applications.formats.deployed import Deployed
from applications.formats.facts import FACTS, Facts
from applications.formats.format import Format, Opened, WriteSettings
from applications.formats.torchscript import as_arrays


class TorchExport(Format):
    """The graph in one .pt2 file, with every size that may change as a symbol."""

    name = "torch_export"
    suffix = ".pt2"

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        del settings
        content = io.BytesIO()
        torch.export.save(export_graph(deployed), content, extra_files={FACTS: facts.to_json()})
        path.write_bytes(content.getbuffer())
        return []

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        if threads:
            torch.set_num_threads(threads)
        program, facts = self._load(path)
        module = program.module()

        def run(images: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return as_arrays(module(torch.from_numpy(images)))

        return Opened(facts, run)

    def recognizes(self, path: Path) -> bool:
        return path.name.endswith(self.suffix) and not path.name.endswith(".aoti.pt2")

    def inner_values(self, path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
        program, _ = self._load(path)
        keeper = _Keeper(program.module())
        with torch.inference_mode():
            keeper.run(torch.from_numpy(images))
        yield from keeper.found

    def _load(self, path: Path) -> tuple[ExportedProgram, Facts]:
        extra = {FACTS: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.load(str(path), extra_files=extra)
            return program, Facts.from_json(extra[FACTS])
        except Exception as error:
            # A broken archive and a foreign one are told by errors of many types.
            raise self.damaged(path) from error


class Whole(nn.Module):
    """A model whose input has the name that all files share."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images)


def export_graph(deployed: Deployed) -> ExportedProgram:
    """Return the graph of a model: any number of images, of any size where the file is to take such."""
    module, example, sizes = traced_parts(deployed)
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)


def traced_parts(deployed: Deployed) -> tuple[nn.Module, Tensor, dict[int, Any]]:
    """Return the module, an example of its input, and which axes of that may have any length."""
    height, width = deployed.preprocess.image_size
    # Sizes that are multiples of nothing: equal numbers would be taken for the same symbol.
    size = (height + 13, width + 29) if deployed.any_size else (height, width)
    axes = (0, 2, 3) if deployed.any_size else (0,)
    return Whole(deployed.module()).eval(), deployed.example(size), dict.fromkeys(axes, Dim.DYNAMIC)


class _Keeper(Interpreter):
    """Runs a graph, and keeps what it computes."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.found: list[np.ndarray] = []

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.op == "call_function" and isinstance(value, Tensor) and value.is_floating_point():
            # What follows may work in place.
            self.found.append(value.float().numpy().copy())
        return value
