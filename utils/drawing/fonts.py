"""The fonts of this machine that have the letters of a text, of any script."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.logs import log

# Parts of file names, in the order in which fonts are tried: those with many scripts and an even look first.
PREFERRED = ("notosanscjk", "sourcehan", "wqy", "droidsansfallback", "pingfang", "hiragino", "yugoth", "msyh", "malgun", "simhei", "ipag")
PREFERRED += ("takao", "nanum", "notosans", "arialuni", "unifont", "symbola", "notoemoji")
# Scripts of China, Japan and Korea.
EAST_ASIAN = range(0x2E80, 0xFB00)


@dataclass(frozen=True)
class Font:
    """A font file that can be drawn at any size."""

    path: str
    family: str
    letters: frozenset[int]


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
