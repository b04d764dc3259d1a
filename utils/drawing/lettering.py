"""Text of any script in pictures: lines drawn by PIL, and names that no font here can draw by their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageDraw, ImageFont

from utils.drawing.fonts import fonts_for, missing_letters
from utils.files import write_text
from utils.text import printable, shortened

# Stands for a letter that no font has.
BOX = "□"


@dataclass(frozen=True)
class FigureLabels:
    """Names as a figure shows them.

    Attributes:
        shown: a text for each name: itself, cut where it is long, or its number where no font has its letters.
        numbered: those names that are shown as '#number', from 1.
    """

    shown: tuple[str, ...]
    numbered: dict[int, str]

    def explain(self, figure: Path) -> str:
        """Write what the numbers stand for to FIGURE.names.txt, where there are some; return the line that says so, or ''."""
        place = figure.with_suffix(".names.txt")
        if not self.numbered:
            place.unlink(missing_ok=True)
            return ""
        write_text(place, "".join(f"#{number}\t{name}\n" for number, name in self.numbered.items()))
        return f"no font here can draw some of the names: {place.name} has them by number"


def labels_of(names: Sequence[str], *, longest: int) -> FigureLabels:
    """Return what a figure writes for each name, at most `longest` letters wide."""
    clean = [printable(name) for name in names]
    missing = missing_letters(clean)
    numbered = {number: names[number - 1] for number, name in enumerate(clean, start=1) if missing & set(map(ord, name))}
    shown = (f"#{number}" if number in numbered else shortened(name, longest) for number, name in enumerate(clean, start=1))
    return FigureLabels(tuple(shown), numbered)


class Pen:
    """Writes lines of any script onto a PIL picture."""

    def __init__(self, canvas: ImageDraw.ImageDraw, size: int) -> None:
        self.canvas = canvas
        self.size = size
        self._plain = ImageFont.load_default(size)

    def width(self, text: str) -> float:
        """Return the width of a line in pixels."""
        return sum(font.getlength(part) for font, part in self._parts(printable(text)))

    def write(self, place: tuple[float, float], text: str, *, fill: tuple[int, int, int]) -> None:
        """Write a line with its upper left corner at `place`."""
        left, top = place
        for font, part in self._parts(printable(text)):
            # On one baseline, whatever the fonts are.
            self.canvas.text((left, top + self.size), part, fill=fill, font=font, anchor="ls")
            left += font.getlength(part)

    def cut(self, text: str, width: int) -> str:
        """Return as much of the text as fits into `width` pixels, with an ellipsis where some is missing."""
        text = printable(text)
        if self.width(text) <= width:
            return text
        while text and self.width(text + "…") > width:
            text = text[:-1]
        return text + "…"

    def _parts(self, text: str) -> list[tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, str]]:
        """Return the text in parts, each with its font; letters that no font has become boxes."""
        if all(letter.isascii() or letter == "…" for letter in text):
            return [(self._plain, text)]
        missing = missing_letters([text])
        text = "".join(BOX if ord(letter) in missing else letter for letter in text)
        fonts, parts = fonts_for(text), []
        for letter in text:
            # Neighbors share a font where they can: letters of some scripts change with their neighbors.
            if parts and ord(letter) in parts[-1][0].letters:
                parts[-1] = (parts[-1][0], parts[-1][1] + letter)
            else:
                parts.append((next(font for font in fonts if ord(letter) in font.letters), letter))
        return [(ImageFont.truetype(font.path, self.size), part) for font, part in parts]
