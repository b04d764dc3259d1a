"""Names in any script are drawn where a font has their letters, numbered where none has, and never end in a warning or an error."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from utils.drawing import fonts
from utils.drawing.chart_panels import Panel, draw_panels
from utils.drawing.fonts import missing_letters
from utils.drawing.images import sheet
from utils.drawing.lettering import Pen, labels_of
from utils.drawing.plots import draw_bars, draw_confusion, draw_curve
from utils.text import shortened

CAT, DOG = "猫", "子犬"
STRANGE = ["قطة", "emoji 😀", "$a$ and $b$", "a_$c^", "_hidden", "long " * 30, "кошка", "line\nbreak", "\udcff", "%s {x}", "e\u0301"]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def square_font(path: Path, letters: str) -> str:
    """Write a font in which every one of the letters is a filled square."""
    pen = TTGlyphPen(None)
    for number, corner in enumerate([(100, 0), (100, 800), (900, 800), (900, 0)]):
        (pen.lineTo if number else pen.moveTo)(corner)
    pen.closePath()
    square, order = pen.glyph(), [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(order, square))
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable({"familyName": f"Squares {path.stem}", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return a broken font and two of squares; matplotlib, which has been told of them, looks for the files later, too."""
    place = tmp_path_factory.mktemp("fonts")
    (place / "broken.ttf").write_bytes(b"no font")
    return str(place / "broken.ttf"), *(square_font(place / f"{name}.ttf", name) for name in (CAT, DOG))


@pytest.fixture
def with_squares(monkeypatch: pytest.MonkeyPatch, squares: tuple[str, ...]) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: squares)


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


@pytest.mark.usefixtures("without_fonts")
def test_names_without_a_font_are_numbered_and_a_file_says_which_they_are(tmp_path: Path) -> None:
    names = ["cat", CAT, DOG]
    draw_confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")
    draw_bars([0.1, 0.2, 0.3], names, tmp_path / "bars.png", axis="x", title="t")
    draw_panels([Panel("t", "x", "y", {name: ([0, 1], [0, 1]) for name in names})], tmp_path / "curves.png")
    assert labels_of(names, longest=9).shown == ("cat", "#2", "#3")
    for figure in ("confusion", "bars", "curves"):
        assert (tmp_path / f"{figure}.names.txt").read_text(encoding="utf-8") == f"#2\t{CAT}\n#3\t{DOG}\n"


@pytest.mark.usefixtures("with_squares")
def test_fonts_of_the_machine_are_found_letter_by_letter(tmp_path: Path) -> None:
    names = ["cat", f"cat {CAT}", CAT + DOG]
    assert labels_of(names, longest=9).shown == tuple(names)
    assert missing_letters([*names, "馬"]) == {ord("馬")}
    draw_confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")
    assert [file.name for file in tmp_path.glob("conf*")] == ["confusion.png"]


@pytest.mark.usefixtures("with_squares")
def test_the_letters_are_in_the_figure(tmp_path: Path) -> None:
    """A square that a font of ours draws is darker than the thin strokes of a number."""
    draw_confusion(np.zeros((1, 1), dtype=int), [CAT * 4], tmp_path / "squares.png")
    draw_confusion(np.zeros((1, 1), dtype=int), ["iiii"], tmp_path / "strokes.png")
    assert (drawn(tmp_path / "squares.png") < 64).sum() > (drawn(tmp_path / "strokes.png") < 64).sum() + 400


@pytest.mark.usefixtures("without_fonts")
def test_a_file_of_names_that_is_no_longer_needed_goes(tmp_path: Path) -> None:
    draw_confusion(np.eye(1, dtype=int), [CAT], tmp_path / "confusion.png")
    draw_confusion(np.eye(1, dtype=int), ["cat"], tmp_path / "confusion.png")
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.png"]


@pytest.mark.usefixtures("without_fonts")
def test_strange_names_are_drawn_in_every_figure(tmp_path: Path) -> None:
    count = len(STRANGE)
    draw_confusion(np.eye(count, dtype=int), STRANGE, tmp_path / "a.png")
    draw_bars([0.5] * count, STRANGE, tmp_path / "b.png", axis=STRANGE[2], title=STRANGE[3])
    draw_panels([Panel(STRANGE[2], "x", "y", {name: ([0, 1], [0, 1]) for name in STRANGE})], tmp_path / "c.png")
    draw_curve([0, 1], {"_x": [0, 1], "$a$b$": [1, 0]}, tmp_path / "d.png", title="$", xlabel="$x$$", ylabel="y")
    assert sheet([np.zeros((20, 20, 3), np.uint8)] * count, STRANGE, columns=4, side=120).std() > 5


def caption(text: str) -> np.ndarray:
    paper = Image.new("L", (200, 40), 255)
    Pen(ImageDraw.Draw(paper), 20).write((0, 0), text, fill=0)  # pyright: ignore[reportArgumentType]
    return np.asarray(paper)


@pytest.mark.usefixtures("with_squares")
def test_captions_mix_fonts_on_one_baseline() -> None:
    alone, mixed = caption(CAT), caption(f"cat {DOG}{CAT}")
    assert (alone < 64).sum() > 150, "a square of 16 pixels"
    bottom = np.flatnonzero((alone < 64).any(1)).max()
    assert np.flatnonzero((mixed < 64).sum(1) > 20).max() == bottom


@pytest.mark.usefixtures("without_fonts")
def test_captions_show_a_box_where_a_letter_is_missing() -> None:
    assert np.array_equal(caption(f"cat {CAT}"), caption("cat □"))
    assert not np.array_equal(caption(f"cat {CAT}"), caption("cat "))


def test_a_caption_is_cut_at_the_width() -> None:
    pen = Pen(ImageDraw.Draw(Image.new("L", (9, 9))), 20)
    assert pen.width(pen.cut("кошка " * 9, 100)) <= 100
    assert pen.cut("кошка " * 9, 100).endswith("…")
    assert pen.cut("cat", 100) == "cat"


def test_wide_letters_count_as_two() -> None:
    assert labels_of(["x" * 12], longest=10).shown == ("x" * 9 + "…",)
    assert shortened(CAT * 6, 10) == CAT * 4 + "…"
    assert shortened(CAT * 5, 10) == CAT * 5
