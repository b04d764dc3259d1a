"""The machine: where this process computes, beside which others, in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from applications.assemble.image_sizes import seen_sizes
from applications.settings.options import RunConfig
from models.memory_layout import is_slower_channels_last
from utils.busy_machine import sleep_when_busy
from utils.distributed import World, open_world, world_from_environment
from utils.errors import UserError
from utils.runtime import Precision, choose_device, choose_precision, keep_freed_memory


@dataclass(frozen=True)
class Machine:
    """Where this process computes, beside which others, in which precision."""

    world: World
    device: torch.device
    precision: Precision

    def autocast(self) -> torch.autocast:
        """Return the context of forward passes."""
        return torch.autocast(self.device.type, dtype=self.precision.dtype, enabled=self.precision.name != "fp32")

    @contextmanager
    def fp32_autocast(self) -> Iterator[torch.autocast]:
        """Compute in fp32 inside the block, as evaluation does, whatever training chose; give the context of forward passes."""
        chosen = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield torch.autocast(self.device.type, enabled=False)
        finally:
            torch.set_float32_matmul_precision(chosen)


def exact_precision() -> Precision:
    """Return the precision of answers that are to be exact rather than fast."""
    return Precision("fp32", True, "exact answers; --precision changes it")


def with_layout_of(arch: str, precision: Precision, device: torch.device) -> Precision:
    """Return a precision without channels last where that makes the network `arch`, or what is built on it, slower."""
    if not precision.channels_last or not is_slower_channels_last(arch, device):
        return precision
    return replace(precision, channels_last=False, reason=f"{precision.reason}; {arch} is slower with channels last")


def open_machine(config: RunConfig, *, training: bool) -> Machine:
    """Join the other processes and choose device and precision.

    Outside training, auto means fp32: answers are to be exact rather than fast.
    """
    world = world_from_environment()
    runtime = config.runtime
    device = choose_device(runtime.device, world.local_rank)
    if runtime.gpus and device.type != "cuda":
        raise UserError(f"--gpus {runtime.gpus}: PyTorch sees no GPU here; --nproc {runtime.gpus} starts processes on the CPU")
    open_world(world, cuda=device.type == "cuda")
    if device.type == "cpu":
        keep_freed_memory()
        sleep_when_busy()
    if device.type == "cuda" and training:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    if not training and runtime.precision == "auto":
        return Machine(world, device, exact_precision())
    smallest = min(min(size) for size in seen_sizes(config))
    precision = choose_precision(runtime.precision, device, smallest=smallest)
    return Machine(world, device, with_layout_of(config.model.pretrained_name(), precision, device))


def single_process() -> World:
    """Return the world of a single process."""
    return World()
