"""Frozen dataclass fields -> argparse flags: each option is declared once, beside its owner."""

import argparse
import shutil
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from types import MappingProxyType
from typing import Any, Literal

from utils.errors import UserError, nearest


def flag(
    default: Any,
    help: str,
    *,
    short: str = "",
    also: Sequence[str] = (),
    const: Any = None,
    metavar: str = "",
    used_for: str = "",
    above: float | None = None,
    least: float | None = None,
    resumed: str = "",
    spec: bool = False,
) -> Any:
    """Declare one option of an Options dataclass.

    Args:
        default: value when the user says nothing.
        help: one line for --help; the default is appended there.
        short: one-letter flag such as '-b'.
        also: further spellings.
        const: value of the bare flag, where the flag takes an optional value.
        metavar: name of the value in --help.
        used_for: what uses the flag, words with spaces between them; '' for everything.
        above: the value must be larger than this.
        least: the smallest value.
        resumed: what becomes of the setting when a run is resumed, words with spaces between them.
        spec: whether the value is a spec such as 'name(a=1)|name', which may name code of the user's own.
    """
    meta = {"help": help, "short": short, "also": tuple(also), "const": const, "metavar": metavar}
    meta |= {"used_for": frozenset(used_for.split()), "resumed": frozenset(resumed.split())}
    meta |= {"above": above, "least": least, "spec": spec}
    return field(default=default, metadata=meta)


METAVARS = {int: "N", float: "X", str: "NAME"}


class FlagParser(argparse.ArgumentParser):
    """An argument parser that raises UserError instead of leaving the program.

    Attributes:
        other_values: name of a flag -> what to write for a value that it does not take, where that is known.
    """

    other_values: Mapping[str, str] = MappingProxyType({})

    def error(self, message: str) -> typing.NoReturn:
        message = message.removeprefix("argument ").replace(": ", " ", 1)
        action = self._option_string_actions.get(message.split()[0].split("/")[-1])
        if action is not None and "expected" in message and action.metavar:
            values = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
            message += f": {action.option_strings[-1]} {values}"
        if action is not None and "invalid choice" in message and action.dest in self.other_values:
            message += f"; perhaps {self.other_values[action.dest]} is meant"
        raise UserError(f"{message}. See python main.py --help")


class _HelpFormatter(argparse.HelpFormatter):
    """One line a flag where the terminal is wide enough, values in the user's words."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(120, shutil.get_terminal_size().columns))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return ", ".join(action.option_strings)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def make_parser(prog: str, usage: str, description: str) -> FlagParser:
    """Return an empty parser; flags are never abbreviated."""
    return FlagParser(prog=prog, usage=usage, description=description, allow_abbrev=False, formatter_class=_HelpFormatter)


def add_flags(parser: argparse.ArgumentParser, title: str, options: type) -> None:
    """Add a flag for every field of the dataclass `options`, in a --help group of its own.

    Nothing is stored for a flag that was not given: defaults belong to the dataclass.
    """
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(options)
    for item in fields(options):
        _add_flag(group, item, hints[item.name])


def _add_flag(group: argparse._ArgumentGroup, item: Field, hint: Any) -> None:
    meta = item.metadata
    assert "help" in meta, f"{item.name} has no help"
    names = [*([meta["short"]] if meta["short"] else []), f"--{item.name}", *meta["also"]]
    given: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS, "help": _help(item, meta["help"])}
    may_be_none = hint != _without_none(hint)
    hint = _without_none(hint)
    if may_be_none and item.default is None and hint is not bool:
        # Over a --config file or a --recipe that gives a value.
        none = {**given, "help": argparse.SUPPRESS}
        group.add_argument(f"--no_{item.name}", action="store_const", const=None, **none)
    if hint is bool:
        group.add_argument(*names, action="store_true", **given)
        group.add_argument(f"--no_{item.name}", action="store_false", **{**given, "help": argparse.SUPPRESS})
        return
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        given |= {"choices": choices, "type": type(choices[0]), "metavar": "{" + ",".join(map(str, choices)) + "}"}
    elif origin is tuple:
        inner = typing.get_args(hint)
        count = "+" if inner[-1] is Ellipsis else len(inner)
        words = tuple(meta["metavar"].split()) or (METAVARS[inner[0]],)
        given |= {"type": inner[0], "nargs": count, "metavar": words[0] if count == "+" else words}
        if item.default == ():
            # Over a --config file that names some.
            off = f"--no_{item.name}"
            group.add_argument(off, action="store_const", const=(), dest=item.name, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    else:
        given |= {"type": hint, "metavar": meta["metavar"] or METAVARS[hint]}
    if meta["const"] is not None:
        given |= {"nargs": "?", "const": meta["const"]}
    group.add_argument(*names, **given)


def underscored(argv: Sequence[str]) -> list[str]:
    """Spell every flag with underscores: --batch-size=4 becomes --batch_size=4."""
    spelled = []
    for argument in argv:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            argument = f"--{name.replace('-', '_')}{equals}{value}"
        spelled.append(argument)
    return spelled


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        assert len(inner) == 1, f"a flag has one type, not {hint}"
        return inner[0]
    return hint


def _help(item: Field, text: str) -> str:
    default = item.default
    if default is MISSING or default is None or default is False or default == () or default == "":
        return text.replace("%", "%%")
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} (default: {shown})".replace("%", "%%")


def cast(options: type, name: str, value: Any) -> Any:
    """Turn a value from a config file into the type of the field `name`, or raise UserError."""
    hint = typing.get_type_hints(options)[name]
    item = next(item for item in fields(options) if item.name == name)
    if value is None and (item.default is None):
        return None
    hint = _without_none(hint)
    origin = typing.get_origin(hint)
    try:
        if origin is Literal:
            choices = typing.get_args(hint)
            if isinstance(value, bool) and {"on", "off"} <= set(choices):
                # How YAML reads these words.
                value = "on" if value else "off"
            if value not in choices:
                raise UserError(
                    f"{name}: '{value}' is not one of {', '.join(map(str, choices))}.{nearest(str(value), list(map(str, choices)))}"
                )
            return value
        if origin is tuple:
            inner = typing.get_args(hint)
            if item.default == () and value in ("none", ["none"], ("none",)):
                return ()
            values = tuple(inner[0](part) for part in value or ())
            if inner[-1] is not Ellipsis and len(values) != len(inner):
                raise ValueError
            return values
        if isinstance(value, bool) != (hint is bool) or (hint is int and value != int(value or 0)):
            raise ValueError
        if hint is str and isinstance(value, dict | list):
            return value
        return hint(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name}: cannot read {value!r} as {getattr(hint, '__name__', hint)}") from error
