"""Move bad files out of a data set, with a log that brings them back."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from utils.errors import UserError
from utils.files import move_file, new_folder, write_csv
from utils.text import counted

LOG = "moved.csv"
FIELDS = ("file", "moved_to", "reason")


class Move(NamedTuple):
    """A file to be moved: its path relative to the data set, where it lies, why."""

    path: str
    file: Path
    reason: str


def quarantine(moves: Sequence[Move], root: Path, name: str) -> Path:
    """Move files into a new folder next to `root`, `root`.quarantine/`name`, and return the log in it.

    The log is complete before the first file moves, and has full paths, so that an interrupted move can be undone.

    Raises:
        UserError: the folder cannot be written, or a file cannot be moved; those before it are moved.
    """
    root = root.resolve()
    if not os.access(root.parent, os.W_OK):
        raise UserError(f"--fix puts files next to {root}, but {root.parent} cannot be written")
    folder = new_folder(root.with_name(f"{root.name}.quarantine"), name)
    # Resolves the folder but not the file itself: of a link, the link is moved.
    planned = [(move.file.parent.resolve() / move.file.name, folder / _inside(move.path), move.reason) for move in moves]
    log = folder / LOG
    write_csv(log, [FIELDS, *planned])
    for source, target, _ in planned:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            move_file(source, target)
        except OSError as error:
            raise UserError(f"cannot move {source}: {error.strerror or error}; --undo {log} brings back what was moved") from error
    return log


def restore(log: Path) -> tuple[int, list[str]]:
    """Move every file of a log back, and return how many came back, and one line for each that did not.

    A file that already lies at its old place is never overwritten. Where all came back the quarantine folder is removed.

    Raises:
        UserError: the log cannot be read, or is not a log.
    """
    back, kept = 0, []
    for line, (source, target) in _read_log(log):
        if not (target.is_symlink() or target.exists()):
            if not (source.is_symlink() or source.exists()):
                kept.append(f"{log}, line {line}: {target} is gone")
            continue
        try:
            source.parent.mkdir(parents=True, exist_ok=True)
            move_file(target, source)
            back += 1
        except FileExistsError:
            if not target.is_symlink() and source.exists() and source.samefile(target):
                # The move was killed after the new link was made, and before the old one was removed.
                target.unlink()
                back += 1
                continue
            kept.append(f"{target} stays: there is a new {source}")
        except OSError as error:
            kept.append(f"{target} stays: {error.strerror or error}")
    if not kept:
        log.unlink()
        _remove_empty(log.parent)
    return back, kept


def _inside(path: str) -> Path:
    """Return the path made safe to join: it stays inside the folder."""
    return Path(*(part if part != ".." else "__" for part in PurePosixPath(path.lstrip("/")).parts))


def _read_log(log: Path) -> list[tuple[int, tuple[Path, Path]]]:
    try:
        with log.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise UserError(f"--undo {log}: {getattr(error, 'strerror', None) or error}; name the {LOG} that --fix wrote") from error
    if not rows or tuple(rows[0]) != FIELDS:
        raise UserError(f"--undo {log} is not a log of --fix: its first line must be {','.join(FIELDS)}")
    moves = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(FIELDS):
            raise UserError(f"--undo {log}, line {line}: {counted(len(row), 'cell')} where {len(FIELDS)} are expected")
        moves.append((line, (Path(row[0]), Path(row[1]))))
    return moves


def _remove_empty(folder: Path) -> None:
    """Remove empty folders: those below, the folder itself and its parent."""
    below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    for each in (*below, folder, folder.parent):
        try:
            each.rmdir()
        except OSError:
            return
