"""torch.compile for the batches of training: what repeats is compiled, all else runs as it is."""

from typing import Any

import torch
from torch import Tensor, nn

from utils.errors import UserError


def compile_training(model: nn.Module) -> None:
    """Let whole training batches run through compiled code, in place: names of tensors stay.

    Validation, batch-norm statistics and the smaller last batch of an epoch run without it, since each would be compiled anew, and answers
    are to be those of evaluation. Every size of images is compiled once. Random draws are those of the network without it.

    Raises:
        UserError: the network computes on the CPU, and there is no C++ compiler.
    """
    if all(value.device.type == "cpu" for value in model.parameters()):
        _refuse_without_compiler()
    import torch._inductor.config as inductor

    inductor.fallback_random = True
    plain = model._call_impl
    compiled = torch.compile(plain, dynamic=False)
    largest = 0

    def call(*inputs: Any, **named: Any) -> Any:
        nonlocal largest
        images = inputs[0] if inputs else None
        if not (model.training and torch.is_grad_enabled() and isinstance(images, Tensor)):
            return plain(*inputs, **named)
        largest = max(largest, len(images))
        return (compiled if len(images) == largest else plain)(*inputs, **named)

    model._compiled_call_impl = call


def _refuse_without_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError("--compile writes C++ for this CPU, and there is no C++ compiler; install g++, or leave --compile out") from error
