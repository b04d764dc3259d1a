"""Letters of any script in pictures: the fonts that have them, and numbers in place of names that no font here can draw."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

from utils.files import write_text
from utils.logs import log
from utils.text import printable, shortened

# Parts of file names, in the order in which fonts are tried: those with many scripts and an even look first.
PREFERRED = ("notosanscjk", "sourcehan", "wqy", "droidsansfallback", "pingfang", "hiragino", "yugoth", "msyh", "malgun", "simhei", "ipag")
PREFERRED += ("takao", "nanum", "notosans", "arialuni", "unifont", "symbola", "notoemoji")
# Scripts of China, Japan and Korea.
EAST_ASIAN = range(0x2E80, 0xFB00)
BOX = "□"


@dataclass(frozen=True)
class Font:
    """A font file that can be drawn at any size."""

    path: str
    family: str
    letters: frozenset[int]


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


@contextmanager
def figure_fonts(texts: Iterable[str]) -> Iterator[None]:
    """Let figures of matplotlib that are made inside draw these texts in fonts that have their letters, and as they stand."""
    from matplotlib import font_manager, rc_context

    fonts = fonts_for("".join(texts))
    for font in fonts[1:]:
        font_manager.fontManager.addfont(font.path)
    # A dollar sign in the name of a class is no formula.
    with rc_context({"font.family": [font.family for font in fonts], "text.parse_math": False}):
        yield


def missing_letters(texts: Iterable[str]) -> set[int]:
    """Return the letters that no font here has; the first time there are some, a line says which fonts would help."""
    text = "".join(texts)
    wanted = set(map(ord, text))
    missing = wanted.difference(*(font.letters for font in fonts_for(text)))
    if missing:
        _tell(any(letter in EAST_ASIAN for letter in missing))
    return missing


def fonts_for(text: str) -> tuple[Font, ...]:
    """Return the fonts that are needed for the letters of a text, the one that comes with matplotlib first."""
    found = [_own_font()]
    wanted = set(map(ord, text)) - found[0].letters
    for path in _system_fonts() if wanted else ():
        font = _opened(path)
        if font is not None and wanted & font.letters:
            found.append(font)
            wanted -= font.letters
        if not wanted:
            break
    return tuple(found)


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


@cache
def _own_font() -> Font:
    import matplotlib

    font = _opened(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    assert font is not None, "it is part of matplotlib"
    return font


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the paths of the fonts of this machine, the best known first."""
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple[int, bool, str]:
        name = Path(path).name.lower()
        known = next((place for place, part in enumerate(PREFERRED) if part in name), len(PREFERRED))
        return known, "regular" not in name, path

    return tuple(sorted(findSystemFonts(), key=rank))


@cache
def _opened(path: str) -> Font | None:
    """Return what a font has; None for one that cannot be read, or that holds pictures of one size."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(path)
    except (OSError, RuntimeError):
        return None
    return Font(path, face.family_name, frozenset(face.get_charmap())) if face.scalable else None


@cache
def _tell(east_asian: bool) -> None:
    kind, remedy = ("Chinese, Japanese or Korean letters", "fonts-noto-cjk") if east_asian else ("the letters of some names", "fonts-noto")
    log().warning(
        f"no font here has {kind}: figures show such names by number, and captions show boxes; "
        f"install one that has them, such as {remedy} of Debian and Ubuntu"
    )
