"""The machine: device, precision, threads, signals."""

import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import torch

from utils.cores import available_cores
from utils.errors import UserError
from utils.interruptible import heard
from utils.std_streams import READER_LEFT, reader_left

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Precision:
    """The number format of training: its name, the memory layout, and why they were chosen."""

    name: Literal["fp32", "bf16", "fp16"]
    channels_last: bool
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.name]

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        layout = ", channels-last" if self.channels_last else ""
        return f"{self.name}{layout} ({self.reason})"


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device that --device means.

    Raises:
        UserError: cuda was asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no GPU here; use --device cpu or check the driver with nvidia-smi")
    if name == "cuda" and local_rank >= torch.cuda.device_count():
        raise UserError(f"there are {torch.cuda.device_count()} GPUs here, too few for process {local_rank + 1}; lower --gpus")
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


# On images up to this size a network of stride 16 sees single pixels, where the CPU's bf16 kernels leave gradients of depthwise
# convolutions of stride 2 undefined, sometimes not a number (seen with torch 2.15).
TINY = 16


def choose_precision(name: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device, *, smallest: int = TINY + 1) -> Precision:
    """Return the precision that --precision means on this device, with the reason.

    Args:
        name: what was asked for.
        device: where it computes.
        smallest: shorter side of the smallest images that are trained on, in pixels.

    Raises:
        UserError: the device cannot train in the precision asked for.
    """
    if device.type == "cuda":
        # Rows of a convolution are contiguous in channels for tensor cores.
        if name == "auto":
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return Precision("bf16", True, f"{torch.cuda.get_device_name(device)} has it in hardware")
            return Precision("fp16", True, f"{torch.cuda.get_device_name(device)} has no bf16")
        return Precision(name, name != "fp32", "as asked")
    if name == "fp16":
        raise UserError("--precision fp16 needs a GPU; use bf16 or fp32 on the CPU")
    found = cpu_bf16_instructions()
    if name == "auto":
        if found and smallest <= TINY:
            return Precision("fp32", True, f"bf16 kernels of CPUs are not safe for images of {TINY} pixels or less")
        if found:
            return Precision("bf16", True, f"this CPU has {found}")
        return Precision("fp32", True, "this CPU has no bf16 instructions")
    unsafe = name == "bf16" and smallest <= TINY
    return Precision(name, True, f"as asked; not safe on CPUs for images of {TINY} pixels or less" if unsafe else "as asked")


def cpu_bf16_instructions() -> str:
    """Return the name of the CPU's bf16 instructions, or ''."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return ""
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith(("flags", "Features"))), "").split()
    return next((shown for flag, shown in (("amx_bf16", "AMX bf16"), ("avx512_bf16", "AVX-512 bf16")) if flag in flags), "")


def available_memory() -> int:
    """Return how many bytes of memory programs could still have, by the system and by the limit of a container."""
    found = [float("inf")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        found += [int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")]
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.is_file() and limit.read_text().strip().isdigit():
        # The container counts the page cache as used, but it is reclaimed on demand.
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(stat["inactive_file"]) - int(stat["active_file"])
        found.append(int(limit.read_text()) - used)
    return int(min(min(found), sys.maxsize))


@contextmanager
def memory_explained(advice: str) -> Iterator[None]:
    """Turn running out of memory inside the block into a mistake that the user can fix.

    Raises:
        UserError: the device or the machine had no memory left.
    """
    try:
        yield
    except RuntimeError as error:
        # The CPU's allocator has no class of its own.
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "the machine"
        raise UserError(f"{where} is out of memory; {advice}") from error


def describe_machine(device: torch.device) -> str:
    """Return one line about where the run computes."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return f"CPU, {available_cores()} cores, {platform.machine()}"


# What StopSignal says when the time is up: below every signal, so that a signal outranks it.
TIME_UP = 1


def keep_freed_memory() -> None:
    """Ask glibc to keep large freed blocks for the next step, instead of returning them to the system and faulting them in again.

    The activations of every step have the same sizes. Other C libraries have no such settings, and are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    import ctypes

    library = ctypes.CDLL(None)
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
        library.mallopt(parameter, value)


class StopSignal:
    """Remembers SIGINT, SIGTERM and SIGHUP, a reader that left, and when the time is up, so that a run can save before it ends.

    The first signal asks the loop to stop, which is said at once of Ctrl-C; a second SIGINT stops at once. SIGHUP counts as SIGTERM,
    and both stay ignored where they are, as SIGHUP is under nohup.

    Args:
        minutes: time until `received` says TIME_UP; None never.
        speaks: whether this process says that it heard Ctrl-C.
    """

    HEARD = "stopping after this step; press Ctrl-C again to stop without saving"

    def __init__(self, minutes: float | None = None, *, speaks: bool = True) -> None:
        self._signal = 0
        self._speaks = speaks
        self._leaving = False
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT, *heard()):
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if self._leaving else handler)  # pyright: ignore[reportArgumentType]

    def leave(self) -> None:
        """Say that all is saved: where a signal is the reason to leave, further ones are ignored until the process has ended."""
        self._leaving = self._signal != 0

    @property
    def received(self) -> int:
        """The number of the signal that came, READER_LEFT when nobody reads the output any more, TIME_UP, or 0 to go on."""
        return self._signal or (READER_LEFT if reader_left() else 0) or (TIME_UP if time.monotonic() >= self._deadline else 0)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self._leaving:
            return
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Only who pressed Ctrl-C waits for an answer; other processes of a run are sent SIGTERM when one of them has died.
        if self._speaks and not self._signal and number == signal.SIGINT:
            say_at_once(self.HEARD)
        self._signal = number if number == signal.SIGINT else signal.SIGTERM


def say_at_once(line: str) -> None:
    """Write a line to stderr from a signal handler: no buffer and no lock of Python's is touched, and a progress bar is written over."""
    with suppress(OSError):
        # The bar is one line, which it draws again below this one.
        over = "\r\x1b[2K" if os.isatty(2) else ""
        os.write(2, f"{over}{line}\n".encode())
