"""Weights out of ONNX files, for networks that were published in no other form."""

from pathlib import Path

import torch
from torch import Tensor

from utils.errors import UserError


def read_convolutions(path: Path) -> dict[str, Tensor]:
    """Return weights and biases of the convolutions of an ONNX file, by the names in the file, in the order of computation.

    A name may be a number: exporters rename what they join, such as a convolution and its batch norm.

    Raises:
        UserError: the package is missing, or the file is broken.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise UserError(f"{path} can be read with the package onnx alone; pip install onnx") from error
    try:
        graph = onnx.load(str(path)).graph
        held = {each.name: each for each in graph.initializer}
        names = [name for node in graph.node if node.op_type == "Conv" for name in node.input[1:] if name in held]
        return {name: torch.from_numpy(numpy_helper.to_array(held[name]).copy()) for name in names}
    except Exception as error:
        # protobuf, onnx and numpy each have their own errors for a broken file.
        raise UserError(f"{path} is not an ONNX file, or damaged or incomplete") from error
