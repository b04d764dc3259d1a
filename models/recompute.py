"""Gradient checkpointing: blocks keep their inputs alone and compute the rest again in the backward pass (arXiv 1604.06174)."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.fake_quantization import FakeQuantized
from models.layer_changes import change
from utils.errors import UserError

NORMS = nn.modules.batchnorm._BatchNorm
STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "input_range")


class Recomputed(nn.Module):
    """What a block becomes: the same class, whose activations in training are computed twice instead of kept."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        # Other inputs than tensors are those of a graph being traced.
        if not (self.training and torch.is_grad_enabled() and all(isinstance(each, Tensor) for each in inputs)):
            return super().forward(*inputs, **named)
        if torch.compiler.is_compiling():
            # A compiled graph writes statistics once, however often it computes them.
            return checkpoint(super().forward, *inputs, use_reentrant=False, **named)
        return checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=partial(_contexts, self), **named)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """What the forward pass and its repetition run in."""
    return nullcontext(), kept_statistics(block)


@contextmanager
def kept_statistics(block: nn.Module) -> Iterator[None]:
    """Inside, layers count on copies: the repeated pass sees the same images, which were counted already."""
    counting = [module for module in block.modules() if isinstance(module, NORMS | FakeQuantized)]
    own = [{name: layer._buffers[name] for name in STATISTICS if name in layer._buffers} for layer in counting]
    for layer, buffers in zip(counting, own, strict=True):
        layer._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for layer, buffers in zip(counting, own, strict=True):
            layer._buffers.update(buffers)


def recompute_blocks(network: nn.Module) -> int:
    """Let the blocks of a network be computed again in the backward pass, in place; return their number.

    Gradients, batch-norm statistics, random draws and names of weights stay what they were.

    Raises:
        UserError: no blocks are found.
    """
    blocks = find_blocks(network)
    if not blocks:
        raise UserError("--checkpointing: this network has no row of blocks that could be computed again; leave it out")
    for block in blocks:
        change(block, Recomputed)
    return len(blocks)


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network: what stands in its rows (Sequential, ModuleList) and has several layers with weights.

    What holds two or more blocks of one kind itself, such as a stage, is opened.
    """
    found: list[nn.Module] = []
    for child in network.children():
        inner = find_blocks(child)
        stands_in_row = isinstance(network, nn.Sequential | nn.ModuleList) and not isinstance(child, nn.Sequential | nn.ModuleList)
        is_stage = max(Counter(type(block) for block in inner).values(), default=0) >= 2
        if not stands_in_row or is_stage:
            found += inner
        elif sum(any(True for _ in module.parameters(recurse=False)) for module in child.modules()) >= 2:
            found.append(child)
    return found
