"""Exported files are written in a folder of their own, and come to their place whole or not at all."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from utils.errors import UserError
from utils.files import TORCH_WRITE_FAILURES
from utils.processes import is_running
from utils.text import say_bytes

# A format may write its weights twice on the way, and its graph.
COPIES = 2
GRAPH_BYTES = 2**22
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
# Below it a disk is full, whatever a library makes of that.
NO_SPACE = 2**16
# A draft, with the process that writes it.
DRAFT = re.compile(r"\.model.*\.(\d+)\.tmp")


def check_room(destination: Path, model: nn.Module) -> None:
    """Raise UserError when the disk has no room for a file of this model."""
    needed = COPIES * sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) + GRAPH_BYTES
    free = shutil.disk_usage(destination.parent).free
    if free < needed:
        raise UserError(f"cannot write {destination}: {say_bytes(free)} are free, about {say_bytes(needed)} are needed; free some space")


def check_writable(folder: Path) -> None:
    """Raise UserError when nothing can be written in a folder, before anything slow begins."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UserError(f"nothing can be written in {folder}: {reason}; copy the run to a folder of yours and export that") from error


def sweep_drafts(folder: Path) -> None:
    """Delete the drafts in a folder whose process is gone, such as one that was killed."""
    for draft in folder.iterdir():
        found = DRAFT.fullmatch(draft.name)
        if found and not is_running(int(found[1])):
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def draft_folder(destination: Path) -> Iterator[Path]:
    """Give a folder beside the destination to write in; it is gone afterwards.

    Raises:
        UserError: the disk is full, or nothing can be written there.
    """
    folder = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    sweep_drafts(destination.parent)
    try:
        folder.mkdir()
        yield folder
    except (OSError, RuntimeError) as error:
        reason = disk_error(error, destination.parent)
        if not reason:
            raise
        raise UserError(f"cannot write {destination}: {reason}; free some space or choose another folder") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def disk_error(error: OSError | RuntimeError, folder: Path) -> str:
    """Return what is wrong with the disk, or '' where the error is another one."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return os.strerror(error.errno).lower()
    said = str(error)
    if any(words in said for words in TORCH_WRITE_FAILURES) or "No space left" in said or shutil.disk_usage(folder).free < NO_SPACE:
        return os.strerror(errno.ENOSPC).lower()
    return ""


def place(folder: Path, destination: Path) -> None:
    """Move what was written to its place, the file that is opened last: whoever finds that finds all of it."""
    for written in sorted(folder.iterdir(), key=lambda each: each.name == destination.name):
        _flush(written)
        _replace(written, destination.with_name(written.name))


def _replace(source: Path, destination: Path) -> None:
    if not destination.is_dir():
        source.replace(destination)
        return
    # A folder cannot be replaced in one step.
    old = destination.with_name(f".{destination.name}.{os.getpid()}.old")
    destination.rename(old)
    source.rename(destination)
    shutil.rmtree(old)


def _flush(place: Path) -> None:
    for path in place.rglob("*") if place.is_dir() else [place]:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
