"""Pages are whole, escape what they are given, and need nothing beside them."""

import re
from html.parser import HTMLParser
from pathlib import Path

from utils.page import Card, Page, bars, folded, gallery, heading, paragraph, picture, table, tiles

EVIL = "<script>alert('x')</script> & \"quotes\" \udcff"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


class Balance(HTMLParser):
    """Counts open tags, so that a page that forgets to close one is found."""

    VOID = ("meta", "img", "br", "wbr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full_page() -> Page:
    page = Page(EVIL, EVIL)
    page.section(EVIL, paragraph(EVIL, tone="bad"), heading(EVIL), tiles({EVIL: EVIL}), table([EVIL, "n"], [[EVIL, "1"]], tones=["warn"]))
    page.section(
        "two", picture(PIXEL, alt=EVIL, caption=EVIL), gallery([Card(PIXEL, [EVIL, EVIL], "good")], wide=True), folded(EVIL, paragraph("x"))
    )
    return page


def test_whatever_is_given_as_text_is_escaped() -> None:
    html = full_page().html()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 12


def test_every_tag_is_closed() -> None:
    balance = Balance()
    balance.feed(full_page().html())
    assert balance.open == []


def test_a_page_needs_no_other_file(tmp_path: Path) -> None:
    full_page().write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(address.startswith(("data:", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert "http" not in html


def test_columns_of_numbers_stand_on_the_right() -> None:
    html = table(["class", "share", "note"], [["a", "98.5%", "1"], ["b", "-1,024", "x"]])
    assert re.findall(r"<th( class=\"number\")?>(\w+)</th>", html) == [("", "class"), (' class="number"', "share"), ("", "note")]


def test_long_names_break_where_they_have_parts() -> None:
    name = "train/class_of_things/IMG_2024.jpg"
    broken = "train/<wbr>class_<wbr>of_<wbr>things/<wbr>IMG_<wbr>2024.jpg"
    assert broken in table(["file"], [[name]])
    assert f"<br>{broken}" in gallery([Card(PIXEL, ["a", name])])
    assert f"<span>{broken}</span>" in bars({name: 1.0})
    assert "anywhere" not in re.sub(r"code \{[^}]*\}", "", full_page().html()), "it makes narrow columns of long words"


def test_links_lead_to_every_section() -> None:
    html = full_page().html()
    assert re.findall(r'href="#(s\d)"', html) == re.findall(r'<h2 id="(s\d)"', html) == ["s0", "s1"]


def test_the_longest_bar_fills_the_width_and_each_says_its_share() -> None:
    block = bars({"<a>": 0.5, "b": 0.25, "none": 0.0})
    assert "&lt;a&gt;" in block
    assert block.index("width:100.0%") < block.index("width:50.0%") < block.index("width:0.0%")
    assert "25.0%" in block
    assert bars({"only": 0.0}).count("<i") == 1
