"""AOTInductor: machine code for the kind of processor that wrote it, which needs libtorch and no compiler."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from applications.formats.deployed import Deployed
from applications.formats.facts import FACTS, Facts
from applications.formats.format import Format, Opened, WriteSettings
from applications.formats.torch_export import export_graph
from applications.formats.torchscript import as_arrays
from utils.errors import UserError


class Aoti(Format):
    """The package of compiled code and weights, with the facts among its metadata."""

    name = "aoti"
    suffix = ".aoti.pt2"

    def write(self, deployed: Deployed, path: Path, facts: Facts, settings: WriteSettings) -> list[str]:
        del settings
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            raise UserError("the format aoti compiles, and there is no C++ compiler; install g++, or take another format")
        configs: dict[str, Any] = {"aot_inductor.metadata": {FACTS: facts.to_json()}}
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch._inductor.aoti_compile_and_package(export_graph(deployed), package_path=str(path), inductor_configs=configs)
        return ["the code in it runs on processors like this one alone"]

    def open(self, path: Path, *, threads: int | None = None) -> Opened:
        if threads:
            torch.set_num_threads(threads)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = torch._inductor.aoti_load_package(str(path))
            facts = Facts.from_json(model.get_metadata()[FACTS])
        except Exception as error:
            # The loader tells of a broken package by errors of many types.
            raise self.damaged(path) from error

        def run(images: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return as_arrays(model(torch.from_numpy(images)))

        return Opened(facts, run)
