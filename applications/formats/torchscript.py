"""TorchScript: one file for libtorch, in Python and C++."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from applications.formats.deployed import Deployed, FitImages
from applications.formats.facts import FACTS, Facts
from applications.formats.format import Format, Opened, WriteSettings


class Scripted(nn.Module):
    """Geometry with its branches, then the traced rest."""

    def __init__(self, geometry: nn.Module, answering: nn.Module) -> None:
        super().__init__()
        self.geometry = geometry
        self.answering = answering

    def forward(self, images: Tensor):
        return self.answering(self.geometry(images))


class TorchScript(Format):
    """The geometry is `fit_images` itself, the rest is traced; freezing folds batch norms into convolutions."""

    name = "torchscript"
    suffix = ".jit.pt"
    in_demo = portable = True

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        del settings
        module = script(deployed)
        # Through memory: torch's own file writer ends the whole process when the disk is full.
        content = io.BytesIO()
        with warnings.catch_warnings():
            ignore_deprecation()
            torch.jit.save(module, content, _extra_files={FACTS: facts.to_json()})
        path.write_bytes(content.getbuffer())
        return []

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        if threads:
            torch.set_num_threads(threads)
        module, facts = load(path, torch.device("cpu"))

        def run(images: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return as_arrays(module(torch.from_numpy(images)))

        return Opened(facts, run)

    def recognizes(self, path: Path) -> bool:
        return path.suffix == ".pt"

    def inner_values(self, path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
        module, _ = load(path, torch.device("cpu"))
        graph = module.inlined_graph.copy()
        kinds = [output for node in graph.nodes() for output in node.outputs() if output.type().isSubtypeOf(torch._C.TensorType.get())]
        for _ in list(graph.outputs()):
            graph.eraseOutput(0)
        for value in kinds:
            graph.registerOutput(value)
        graph.makeMultiOutputIntoTuple()
        function: Any = torch._C._create_function_from_graph("forward", graph)
        with torch.inference_mode():
            yield from as_arrays(function(module._c, torch.from_numpy(images)))


def script(deployed: Deployed) -> torch.jit.ScriptModule:
    """Return the scripted module of a model."""
    preprocess = deployed.preprocess
    with torch.no_grad(), warnings.catch_warnings():
        # What tracing may have fixed is found by the comparison on real images.
        warnings.simplefilter("ignore", TracerWarning)
        ignore_deprecation()
        answering = torch.jit.trace(deployed.answering, deployed.example(), check_trace=False)
        geometry = FitImages(*preprocess.image_size, preprocess.resize) if deployed.any_size else nn.Identity()
        assert isinstance(answering, nn.Module)
        return torch.jit.freeze(torch.jit.script(Scripted(geometry, answering).eval()))


def load(path: Path, device: torch.device) -> tuple[torch.jit.ScriptModule, Facts]:
    """Return the module of a file, and what the file says of itself.

    Raises:
        UserError: it is damaged or foreign.
    """
    extra = {FACTS: ""}
    try:
        with warnings.catch_warnings():
            ignore_deprecation()
            module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
        return module.eval(), Facts.from_json(extra[FACTS])
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise TorchScript().damaged(path) from error


def ignore_deprecation() -> None:
    """Keep quiet what docs/deploy.md says: TorchScript is maintained, and gets nothing new."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.")


def as_arrays(outputs: Any) -> list[np.ndarray]:
    """Return the tensors of a module's answer as arrays, floats as float32."""
    tensors = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return [(each.float() if each.is_floating_point() else each).numpy() for each in tensors]
