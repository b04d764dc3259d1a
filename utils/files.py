"""Files that are whole or absent, and folders that are never overwritten."""

import csv
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.errors import UserError

# torch's zip writer reports what the system says as a RuntimeError in words of its own.
TORCH_WRITE_FAILURES = {
    "Parent directory": errno.ENOENT,
    "iostream error": errno.ENOSPC,
    "inline_container": errno.ENOSPC,
    "PytorchStreamWriter": errno.ENOSPC,
}


class WriteError(UserError):
    """A file could not be written; what was there before is as it was."""


def write_atomically(path: Path, write: Callable[[Path], Any], *, flush: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, then rename it.

    Without `flush` a file may be lost when the power fails, which is cheaper where many can be written again.

    Raises:
        WriteError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if flush:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in TORCH_WRITE_FAILURES):
            raise
        raise WriteError(f"cannot write {path}: {_reason(error)}; free some space or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    # File names need not be UTF-8; their bytes are kept.
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8", errors="surrogateescape"))


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of cells as a CSV file, atomically, in UTF-8; of rows that are made as they are asked for, one is in memory."""

    def write(place: Path) -> None:
        # File names need not be UTF-8; their bytes are kept.
        with place.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            plain = csv.writer(file, lineterminator="\n")
            # A carriage return ends a row unless quotes stand around it, which the writer does not see to.
            quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            for row in rows:
                cells = list(row)
                (quoted if "\r" in "".join(map(str, cells)) else plain).writerow(cells)

    write_atomically(path, write)


def move_file(source: Path, destination: Path) -> None:
    """Move a file, or a link as such; it is whole in one of the two places at any time, and nothing is overwritten.

    Raises:
        FileExistsError: there is something at `destination`.
        OSError: the file cannot be moved; it lies where it was.
    """
    if destination.is_symlink() or destination.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
    try:
        # A second name that refuses to replace a file; a rename would not.
        os.link(source, destination, follow_symlinks=False)
    except OSError as error:
        if isinstance(error, FileExistsError | FileNotFoundError):
            raise
        _move_without_links(source, destination)
    else:
        source.unlink()


def _move_without_links(source: Path, destination: Path) -> None:
    """Move a file where the file system has no hard links, or to another one."""
    try:
        os.rename(source, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
        try:
            shutil.copy2(source, temporary, follow_symlinks=False)
            if not temporary.is_symlink():
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)
        source.unlink()


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


def publish_folder(temporary: Path, folder: Path) -> None:
    """Rename a complete folder to its final name; keep the one that another process may have written in the meantime.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return os.strerror(next(number for words, number in TORCH_WRITE_FAILURES.items() if words in str(error))).lower()


@contextmanager
def removed_on_error(folder: Path) -> Iterator[Path]:
    """Let a fresh folder be filled; a mistake on the way leaves nothing of it behind."""
    try:
        yield folder
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def locked(path: Path, *, wait: Callable[[], Any] | None = None) -> Iterator[None]:
    """Hold the system's lock on a file: it ends with the block, or with the process, however that ends.

    Args:
        path: the file; it is made where there is none.
        wait: called when another process holds it, which is then waited for.

    Raises:
        UserError: another process holds it, and `wait` is not given.
    """
    try:
        import fcntl
    except ImportError:
        yield  # Windows has no such locks
        return
    with path.open("a") as file:
        try:
            # fcntl record locks are not inherited by forked loader workers (flock would be).
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if wait is None:
                raise UserError(f"another process is training in {path.parent}; wait for it, or start a run of your own") from error
            wait()
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
