"""The space of a sweep: 'lr=1e-4..1e-2 wd=0.01,0.05 mixup=on,off', read by the types of the flags."""

import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from applications.settings.options import SECTIONS, flag_metadata, settings_where
from utils.errors import UserError, nearest
from utils.flags import cast

SPLIT = ("data", "seed", "split_seed", "val_share", "test_share", "fold", "group_by", "task", "labels", "ignore", "empty_masks")
# `cooldown` is a number of epochs, which would be another share of the run in every rung.
LENGTH = ("epochs", "minutes", "hours", "max_minutes", "epoch_size", "aug_repeats", "patience", "cooldown", "recipe")
MACHINE = ("device", "workers", "batch", "print_freq", "save_minutes", "save_every", "keep", "strict")
# A range whose ends are further apart than this factor is searched by its logarithm.
LOGARITHMIC = 10
# Above it, whole numbers and real ones are no longer the same.
LARGEST = 2**53


@dataclass(frozen=True)
class Parameter:
    """A setting that a sweep varies.

    Attributes:
        name: of the setting of RunConfig.
        choices: its values; () for a range.
        low, high: ends of the range, both included; whole numbers where the setting is one.
        whole: whether the range has whole numbers only.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False

    @property
    def is_logarithmic(self) -> bool:
        """Whether the range is searched by its logarithm."""
        return not self.choices and self.low > 0 and self.high > LOGARITHMIC * self.low

    @property
    def values(self) -> Sequence[Any] | None:
        """All values, where they can be counted."""
        if self.choices:
            return self.choices
        return range(int(self.low), int(self.high) + 1) if self.whole else None

    @property
    def count(self) -> int | None:
        """How many values there are; None for endless ones."""
        # Of a range, len() would fail where it has more than the machine counts to.
        return len(self.choices) or (int(self.high) - int(self.low) + 1 if self.whole else None)

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that must all be allowed: the choices, or the ends of the range."""
        return self.choices or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))


def parse_space(text: str) -> tuple[Parameter, ...]:
    """Read the space of a sweep.

    Raises:
        UserError: a name is no flag that may be varied, or a value does not fit it.
    """
    words = _split(text, r"\s+")
    if not words:
        raise UserError("--sweep needs what to vary, such as 'lr=1e-4..1e-2 wd=0.01,0.05 mixup=on,off'")
    found: dict[str, Parameter] = {}
    for word in words:
        given, equals, values = word.partition("=")
        if not equals or not values:
            raise UserError(f"--sweep '{word}': write name=low..high or name=one,another")
        name = _setting(given)
        if name in found:
            raise UserError(f"--sweep names {name} twice; give all its values at once")
        found[name] = _parameter(name, values)
    return tuple(found.values())


def _split(text: str, at: str) -> list[str]:
    """Return the parts of a text, cut outside of parentheses."""
    return [part for part in re.split(rf"(?:{at})(?![^(]*\))", text.strip()) if part]


def _setting(given: str) -> str:
    """Return the setting that a flag of the user's means, which a sweep may vary."""
    plain = given.lstrip("-").replace("-", "_")
    names = [item.name for options in SECTIONS.values() for item in fields(options)]
    other = {spelling.lstrip("-"): name for name in names for spelling in flag_metadata(name)["also"]}
    name = other.get(plain, plain)
    if name not in names:
        raise UserError(f"--sweep: '{given}' is no flag.{nearest(plain, [*names, *other])}")
    if name in SPLIT:
        raise UserError(f"--sweep: {name} changes which images are trained on and which judge; all trials need the same, so give --{name}")
    if name in LENGTH:
        what = "names many settings at once" if name == "recipe" else "says how long a run or a part of it is"
        raise UserError(f"--sweep: {name} {what}; give --{name} beside --sweep")
    if name in (*MACHINE, *settings_where(lambda declared: bool({"call", "place"} & declared["resumed"]))):
        raise UserError(f"--sweep: {name} says how and where is trained, not what is learned; give --{name} beside --sweep")
    if not flag_metadata(name)["used_for"] & {"train", "training", "model", "data"} and flag_metadata(name)["used_for"]:
        raise UserError(f"--sweep: {name} is not used by training")
    return name


def _parameter(name: str, values: str) -> Parameter:
    kind, optional = type_of(name)
    low, dots, high = values.partition("..")
    if dots and kind in (int, float):
        if "..." in values:
            # The third dot would be read as the point of the second number.
            ends = re.sub(r"\.{3,}", "..", values)
            raise UserError(f"--sweep {name}={values}: write two dots between the ends, {name}={ends}, and a number below 1 as 0.1")
        ends = [_number(name, end, kind) for end in (low, high)]
        if not ends[0] < ends[1]:
            raise UserError(f"--sweep {name}={values}: the first end must be below the second")
        return Parameter(name, (), ends[0], ends[1], whole=kind is int)
    choices = tuple(_choice(name, each, kind, optional) for each in _split(values, ","))
    if len(set(map(str, choices))) < max(2, len(choices)):
        raise UserError(f"--sweep {name}={values}: give two different values or more, with commas, or a range such as 1..4 of numbers")
    return Parameter(name, choices)


def type_of(name: str) -> tuple[Any, bool]:
    """Return the type of a setting, without None, and whether it may be None."""
    owner = next(options for options in SECTIONS.values() if any(item.name == name for item in fields(options)))
    hint = typing.get_type_hints(owner)[name]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return inner[0], True
    return hint, False


def _number(name: str, text: str, kind: type) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if abs(number) > LARGEST:
        raise UserError(f"--sweep {name}: write numbers up to {LARGEST:.0e}")
    if math.isnan(number):
        raise UserError(f"--sweep {name}: '{text}' is no {'whole ' if kind is int else ''}number")
    return number


def _choice(name: str, text: str, kind: Any, optional: bool) -> Any:
    """Return a value of a list: on and off for switches and for settings that may be absent."""
    const = flag_metadata(name)["const"]
    if kind is bool:
        if text not in ("on", "off"):
            raise UserError(f"--sweep {name}: '{text}' is neither on nor off")
        return text == "on"
    if optional and text == "off":
        return None
    if const is not None and text == "on":
        return const
    if kind in (int, float):
        return _number(name, text, kind)
    value = text
    if typing.get_origin(kind) is tuple:
        value = text.split("x") if typing.get_args(kind)[0] in (int, float) else [text]
    if typing.get_origin(kind) is typing.Literal and type(typing.get_args(kind)[0]) is int:
        value = int(_number(name, text, int))
    owner = next(options for options in SECTIONS.values() if any(item.name == name for item in fields(options)))
    return cast(owner, name, value)


def shown(value: Any) -> str:
    """Return a value as a user writes it in a space."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "off"
    if isinstance(value, tuple | list):
        return "x".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def absent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are to be absent, whatever a recipe says: a file that has them as null says nothing of them."""
    return {name: value for name, value in settings.items() if value is None}


def flags_of(values: Mapping[str, Any]) -> list[str]:
    """Return settings as arguments of main.py; one that is to be absent (None), whatever lies below it, is --no_NAME."""
    found: list[str] = []
    for name, value in values.items():
        if value is None or isinstance(value, bool):
            found += [f"--{name}" if value else f"--no_{name}"]
        elif isinstance(value, tuple | list):
            found += [f"--{name}", *map(str, value)] if len(value) else []
        else:
            found += [f"--{name}", repr(value) if isinstance(value, float) else str(value)]
    return found
