"""The result of a check: level, title, advice, and the images that show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class ImageSet:
    """Numbers of images that belong together, and a note about them."""

    images: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: an error distorts metrics or stops a run, a warning deserves a look, an info is good to know.
        title: what it is, in a line.
        advice: what to do, in a line or two.
        groups: the images that show it.
        header, rows: a table of figures.
        bars: shares of one, name -> value, to be drawn.
        fixable: images that may be moved away without asking a person.
        figures: plain values for programs.
        lines: findings that are not images, such as lines of a list, one text each.
    """

    level: Level
    title: str
    advice: str
    groups: Sequence[ImageSet] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    bars: Mapping[str, float] = field(default_factory=dict)
    fixable: tuple[int, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()


def singles(numbers: Sequence[int], notes: Mapping[int, str] | None = None) -> list[ImageSet]:
    """Return one group per image."""
    return [ImageSet((number,), (notes or {}).get(number, "")) for number in numbers]
