"""Specs: the small language 'flip|rotate(20)|randaug(2,m=9)' that keeps flags few.

A spec is a chain of names with literal arguments; nothing nests and nothing is evaluated.
"""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from utils.errors import UserError

# A table name, or my_file.py:Attr with its path.
# A file as the only argument needs no quotes either.
PATH = r"[\w./~:\\ -]+\.\w+"
NAME = r"[\w./~:\\ -]+"

SpecSource = str | dict | list


@dataclass(frozen=True)
class Spec:
    """One call of a chain: a table name and its literal arguments."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = [repr(value) for value in self.args]
        inside += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self.name}({','.join(inside)})" if inside else self.name


def base_name(spec: str) -> str:
    """Return the name in front of the arguments of a single spec."""
    return spec.partition("(")[0].strip()


def parse_specs(source: SpecSource) -> tuple[Spec, ...]:
    """Parse 'a|b(1)|c(x=2)', a {"type", "kwargs"} mapping, or a list of either.

    Raises:
        UserError: the text is not a chain of names with literal arguments.
    """
    if isinstance(source, str):
        return tuple(_parse_one(part, source) for part in _split(source))
    if isinstance(source, dict):
        return (_from_mapping(source),)
    return tuple(spec for part in source for spec in parse_specs(part))


def _split(text: str) -> list[str]:
    """Split at the bars that stand outside parentheses and quotes."""
    parts, depth, quote, current, escaped = [], 0, "", "", False
    for letter in text:
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        if letter == "|" and depth == 0 and not quote:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current]


def _parse_one(part: str, whole: str) -> Spec:
    part = part.strip()
    name, parenthesis, rest = part.partition("(")
    problem = f"cannot read '{part}' in the spec '{whole}'; write name or name(1, key=2), joined by |"
    if not re.fullmatch(NAME, name.strip()) or (parenthesis and not rest.endswith(")")):
        raise UserError(problem)
    if not parenthesis:
        return Spec(name.strip())
    arguments = rest[:-1]
    # A bare word stands for itself, so that cost(costs.csv) needs no quotes.
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        assert isinstance(call, ast.Call)
        args = tuple(_literal(node) for node in call.args)
        kwargs = {word.arg: _literal(word.value) for word in call.keywords if word.arg}
        if len(kwargs) != len(call.keywords):
            raise ValueError
    except (SyntaxError, ValueError, AssertionError) as error:
        if re.fullmatch(PATH, arguments.strip()):
            return Spec(name.strip(), (arguments.strip(),))
        raise UserError(problem) from error
    return Spec(name.strip(), args, kwargs)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        if isinstance(node, ast.Name | ast.Attribute):
            return ast.unparse(node)
        raise


def _from_mapping(source: dict) -> Spec:
    unknown = set(source) - {"type", "args", "kwargs"}
    fits = (
        isinstance(source.get("type"), str)
        and isinstance(source.get("args", []), list | tuple)
        and isinstance(source.get("kwargs", {}), dict)
    )
    if unknown or not fits:
        raise UserError(f'cannot read the spec {source}; write {{"type": "name", "kwargs": {{...}}}}')
    return Spec(source["type"], tuple(source.get("args", ())), dict(source.get("kwargs", {})))
