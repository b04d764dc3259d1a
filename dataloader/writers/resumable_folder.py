"""A folder that a long job fills: it can be resumed after an interruption, and is never mixed with other content."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import write_text


def begin_or_continue(folder: Path, note: str, settings: Mapping[str, Any]) -> bool:
    """Start or resume filling `folder`; return whether it was finished already.

    Args:
        folder: new, empty, or started with the same settings.
        note: name of the file in it with the settings.
        settings: plain values that determine the content.

    Raises:
        UserError: it has other content, or was started with other settings.
    """
    file = folder / note
    try:
        present = any(folder.iterdir()) if folder.exists() else False
    except OSError as error:
        raise UserError(f"cannot use {folder}: {(error.strerror or str(error)).lower()}; name a new folder") from error
    if not present:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot create {folder}: {(error.strerror or str(error)).lower()}; choose another folder") from error
        write_note(folder, note, settings, {}, complete=False)
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        before, complete = dict(content["settings"]), bool(content["complete"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder} holds something else and is left alone; name a new folder, or an empty one") from error
    wanted = json.loads(json.dumps(dict(settings)))
    other = sorted(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
    if other:
        raise UserError(f"{folder} was begun with another {' and another '.join(other)}; name a new folder, or remove this one")
    return complete


def write_note(folder: Path, note: str, settings: Mapping[str, Any], facts: Mapping[str, Any], *, complete: bool) -> None:
    """Write the settings, whether the folder is finished, and its results."""
    write_text(folder / note, json.dumps({"complete": complete, "settings": dict(settings), **facts}, indent=2) + "\n")
