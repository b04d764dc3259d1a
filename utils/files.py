"""Files that are whole or absent, and folders that are never overwritten."""

import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError

# torch's zip writer reports a full disk as a RuntimeError in words of its own.
TORCH_WRITE_FAILURES = ("iostream error", "inline_container", "PytorchStreamWriter")


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, then rename it.

    Raises:
        UserError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in TORCH_WRITE_FAILURES):
            raise
        raise UserError(f"cannot write {path}: {_reason(error)}; free some space or choose another --logdir") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of cells as a CSV file, atomically, in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def new_folder(parent: Path, name: str) -> Path:
    """Create and return parent/name, or parent/name-2, -3, ... when it exists.

    Raises:
        UserError: the folder cannot be created.
    """
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if folder.parent.is_file():
                raise UserError(f"cannot create {folder}: {folder.parent} is a file") from None
            number += 1
        except OSError as error:
            raise UserError(f"cannot create {folder}: {_reason(error)}; choose another --logdir") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return os.strerror(errno.ENOSPC).lower()
