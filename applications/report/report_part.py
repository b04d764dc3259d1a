"""The parts of a report: tiles, sections of the page, figures; and small pictures for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from utils.drawing.images import data_uri, thumbnail
from utils.page import Card, Tone

SIDE = 112
# About 3 kB each; a page of more opens slowly.
MOST_PICTURES = 500


Section = tuple[str, list[str]]


@dataclass
class ReportPart:
    """What a part of the report gives back.

    Attributes:
        tiles: large figures, name -> value.
        sections: titles and blocks of the page.
        figures: plain values for report.json.
        style: what the sections need beyond the shared style.
    """

    tiles: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    style: str = ""


class Thumbnails:
    """Thumbnails for one page, up to a limit.

    Args:
        read: position of an image -> its pixels, uint8 (H, W, 3).
        most: how many the page may hold.
    """

    def __init__(self, read: Callable[[int], np.ndarray], *, most: int = MOST_PICTURES) -> None:
        self.read = read
        self.left = most

    def card(self, index: int, lines: Sequence[str], tone: Tone = "", *, beside: np.ndarray | None = None) -> Card | None:
        """Return image `index` with lines of text, and a picture next to it; None when the page is full."""
        if self.left <= 0:
            return None
        self.left -= 1
        picture = thumbnail(self.read(index), SIDE)
        if beside is not None:
            picture = _side_by_side(picture, thumbnail(beside, SIDE))
        return Card(data_uri(picture), lines, tone)


def _side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height = max(len(first), len(second))
    parts = [np.pad(part, ((0, height - len(part)), (0, 4), (0, 0)), constant_values=255) for part in (first, second)]
    return np.concatenate(parts, axis=1)[:, :-4]


def as_percent(value: float, digits: int = 1) -> str:
    """Return '97.2%', or a dash for nan."""
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f}%"


def plain_floats(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with nan and infinity, which JSON cannot hold, as None."""
    return {
        name: plain_floats(value) if isinstance(value, Mapping) else None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in values.items()
    }
