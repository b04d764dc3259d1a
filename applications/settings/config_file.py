"""Settings from a file: flat JSON or YAML, or a Python file with dicts."""

import json
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import itemgetter
from pathlib import Path
from typing import Any

from applications.settings.foreign_flags import advice
from applications.settings.options import SECTIONS, RunConfig, settings_where, with_present_names
from utils.errors import UserError

# The dicts that a Python file may group its settings in: those of general_backbone, and the sections of RunConfig.
FOREIGN_SECTIONS = ("train_conf", "test_conf", "data_conf")
# An ordered mapping of augmentations, as --aug_config reads it.
TRANSFORMS = "dict_transform"


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Return the settings in a .json, .yaml or .py file, flat and of plain values; those that are None are left out.

    A Python file is run, with the rights of the user who named it.

    Raises:
        UserError: the file is missing, cannot be read or run, or holds something that is not a setting.
    """
    text = _text(path)
    if path.suffix == ".py":
        return _settings_of(_run(path), path)
    content = _parsed(text, path)
    if not isinstance(content, dict):
        raise UserError(f"--config {path}: expected 'setting: value' lines")
    # It may be config.json of an older run folder.
    content = with_present_names(content)
    _refuse_unknown({f"'{name}'": str(name) for name in content}, path)
    return _plain_settings({str(name): (f"'{name}'", value) for name, value in content.items()}, path)


def setting_names() -> list[str]:
    """Return the names of all settings."""
    return [item.name for options in SECTIONS.values() for item in fields(options)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--config {path} is not a text file") from error
    except OSError as error:
        raise UserError(f"--config {path}: {(error.strerror or 'cannot be read').lower()}") from error


def _parsed(text: str, path: Path) -> Any:
    try:
        if path.suffix == ".json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except ValueError as error:
        raise UserError(f"--config {path}: {error}") from error
    except Exception as error:
        # yaml's own error class is not at hand unless yaml was imported.
        raise UserError(f"--config {path}: {' '.join(str(error).split())}") from error


def _run(path: Path) -> dict[str, Any]:
    """Return what a Python file leaves under public names, without what it imported or defined."""
    try:
        found = runpy.run_path(str(path))
    except SyntaxError as error:
        raise UserError(f"--config {path}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"--config {path}, line {_line(error, path)}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return {name: value for name, value in found.items() if not name.startswith("_") and not _is_code(value)}


def _line(error: BaseException, path: Path) -> int:
    """Return the last line of the file that the error went through."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
        trace = trace.tb_next
    return line


def _is_code(value: Any) -> bool:
    """Whether a value is a module, a class or a function, which a file may use to make its settings."""
    return callable(value) or type(value).__name__ == "module"


def _settings_of(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings that stand by themselves or in dicts that are sections, each known and given once."""
    sections = (*FOREIGN_SECTIONS, *(item.name for item in fields(RunConfig)))
    places: dict[str, tuple[str, Any]] = {}
    unknown: dict[str, str] = {}
    for name, value in found.items():
        is_section = name in sections and isinstance(value, dict)
        for key, inner in value.items() if is_section else [(name, value)]:
            where = f"{name}['{key}']" if is_section else f"'{name}'"
            if key not in setting_names() and key != TRANSFORMS:
                unknown[where] = str(key)
            elif key in places and places[key][1] != inner:
                raise UserError(f"--config {path}: {places[key][0]} and {where} give '{key}' two values; write one of them")
            else:
                places[key] = (where, inner)
    _refuse_unknown(unknown, path, others=sections)
    return _with_transforms(_plain_settings(places, path), path)


def _plain_settings(places: Mapping[str, tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Return name -> plain value of name -> place in the file and value, without those that are None."""
    specs = {*settings_where(itemgetter("spec")), TRANSFORMS}
    return {name: _plain(value, where, path, may_map=name in specs) for name, (where, value) in places.items() if value is not None}


def _with_transforms(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings with a mapping of augmentations as the setting `aug`."""
    if TRANSFORMS not in settings:
        return settings
    if settings.get("aug") is not None:
        raise UserError(f"--config {path}: {TRANSFORMS} and aug both say how to augment; write one of them")
    from dataloader.augment.config_file import read_operations

    operations = read_operations(settings.pop(TRANSFORMS), source=f"--config {path}")
    return {**settings, "aug": operations}


def _plain(value: Any, where: str, path: Path, *, may_map: bool) -> Any:
    """Return a value of the kinds that JSON has; an object, or a mapping where none can be meant, is refused."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(part, where, path, may_map=may_map) for part in value]
    if isinstance(value, dict) and may_map:
        return {str(name): _plain(part, where, path, may_map=True) for name, part in value.items()}
    kind = "a mapping" if isinstance(value, dict) else f"of type {type(value).__name__}"
    raise UserError(f"--config {path}: {where} is {kind}; write a number, a text or a list of them")


def _refuse_unknown(places: Mapping[str, str], path: Path, *, others: Sequence[str] = ()) -> None:
    """Raise UserError that names every unknown setting (place -> name), with what it is here or the nearest known one."""
    known = setting_names()
    wrong = {where: name for where, name in places.items() if name not in known}
    if wrong:
        said = " ".join(f"{where}: {advice(name, [*known, *others]) or 'nothing like it is known.'}" for where, name in wrong.items())
        raise UserError(f"--config {path}: unknown setting{'s' if len(wrong) > 1 else ''} {said}")
