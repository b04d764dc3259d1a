"""Checkpoints: one file of plain types and tensors that rebuilds everything."""

import os
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from utils.errors import UserError
from utils.files import write_atomically
from utils.logs import log
from utils.networks.onnx_weights import read_convolutions
from utils.text import say_bytes

FORMAT = 1
LAST, BEST = "last.pt", "best.pt"


def save_checkpoint(path: Path, content: dict[str, Any], *, also: Path | None = None, of_also: dict[str, Any] | None = None) -> None:
    """Write a checkpoint atomically; `also` names a second file, with the same content or with `of_also`.

    The second file is replaced first: a run killed in between repeats the epoch and writes
    the same best file again, instead of forgetting that it was the best.

    Raises:
        UserError: the disk is full; both files are as they were.
    """

    def write(temporary: Path) -> None:
        torch.save({"format": FORMAT, **content}, temporary)
        if also is not None and of_also is not None:
            whole = {"format": FORMAT, **of_also}
            write_atomically(also, lambda place: torch.save(whole, place))
        elif also is not None:
            write_atomically(also, lambda place: link_or_copy(temporary, place))

    write_atomically(path, write)


def check_space(folder: Path, first: int, later: int) -> None:
    """Look whether the disk has room for the checkpoints of a run; `folder` need not be there yet.

    Args:
        folder: where they go.
        first: bytes of the first one.
        later: bytes of all that will lie there at the same time.

    Raises:
        UserError: the first one does not fit.
    """
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        # What cannot be asked is found out by writing.
        return
    said = f"{place} has {say_bytes(free)} free"
    if free < first:
        raise UserError(f"{said}, the first checkpoint needs about {say_bytes(first)}; free some space or choose another --logdir")
    if free < later:
        log().warning(f"{said}, the checkpoints of this run need up to {say_bytes(later)} at a time; a full disk ends it")


def link_or_copy(source: Path, destination: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; nothing in the file is executed.

    Raises:
        UserError: the file is missing, no checkpoint of Darkroom, or of a later format.
    """
    content = load_tensors(path)
    if not is_checkpoint(content):
        raise UserError(f"{path} is not a Darkroom checkpoint; for bare weights use --init_from {path}")
    if content["format"] > FORMAT:
        raise UserError(f"{path} was written by a later Darkroom (format {content['format']}, this one reads {FORMAT}); update Darkroom")
    return content


def is_checkpoint(content: object) -> bool:
    """Whether what a file holds is a checkpoint of Darkroom, rather than bare weights."""
    return isinstance(content, dict) and "format" in content and "arch" in content


def load_tensors(path: Path) -> Any:
    """Read a file of plain types and tensors (torch.save or safetensors) on the CPU; of an ONNX file, its convolutions.

    Raises:
        UserError: the file is missing, broken, or asks to execute code.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if path.suffix == ".onnx":
        return read_convolutions(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            # torch warns of old pickles and of TorchScript before it refuses them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} was not loaded: it is not a checkpoint, or it contains pickled objects other than tensors and plain values"
        ) from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise UserError(f"{path} is a converted file (TorchScript), which runs but cannot be read back; give the run folder") from error
        # torch, zipfile and safetensors each have their own errors for a broken file.
        raise UserError(f"{path} is not a checkpoint, or damaged or incomplete ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, IndexError | KeyError | EOFError):
        return "its content makes no sense"
    return (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0][:120]


def find_checkpoint(run_or_file: str, prefer: str) -> Path:
    """Return the checkpoint that a --resume value means.

    Args:
        run_or_file: a run folder or a checkpoint file.
        prefer: LAST or BEST, the file to take from a run folder that holds both.
    """
    place = Path(run_or_file)
    if place.is_file():
        return place
    if not place.is_dir():
        raise UserError(f"--resume: there is no run folder or checkpoint {place}")
    for name in (prefer, LAST, BEST):
        if (place / name).is_file():
            return place / name
    runs = [file for pattern in ("*", "*/*") for name in (LAST, BEST) for file in place.glob(f"{pattern}/{name}")]
    newest = max(runs, key=lambda file: file.stat().st_mtime_ns, default=None)
    hint = "" if newest is None else f"; the newest run in it is {newest.parent}"
    raise UserError(f"--resume: {place} holds neither {LAST} nor {BEST}{hint}")
