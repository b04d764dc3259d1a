"""Pages for people: one HTML file with style and pictures inside, readable without a network, in light and dark."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Literal

from utils.files import write_text

Tone = Literal["", "good", "bad", "warn"]

STYLE = """
:root { --ink: #1c2024; --soft: #60666d; --paper: #ffffff; --card: #f5f6f8; --line: #dfe2e6; --accent: #2563a8;
  --good: #1d7a46; --bad: #b3261e; --warn: #96640a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa1a9; --paper: #15181b; --card: #1f2327; --line: #343a40;
  --accent: #7db4ee; --good: #6fce97; --bad: #f2857d; --warn: #e3b35c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; } h2 { margin: 2.6rem 0 .6rem; font-size: 1.2rem; }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem; }
p { margin: .4rem 0; max-width: 52rem; } .soft, figcaption, .note { color: var(--soft); }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; } a { color: var(--accent); }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: .8rem 0; }
.tile { background: var(--card); border-radius: .5rem; padding: .7rem 1rem; min-width: 8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: .8rem 0; } figure img { max-width: 100%; background: #fff; border-radius: .4rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .9rem; margin: .8rem 0; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
.card { background: var(--card); border-radius: .5rem; padding: .5rem; font-size: .84rem; line-height: 1.35; min-width: 0; }
.card img { width: 100%; height: 9rem; object-fit: contain; display: block; margin-bottom: .35rem; image-rendering: auto; }
.gallery.wide .card img { height: auto; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.card.good { box-shadow: inset 0 3px var(--good); color: inherit; } .card.bad { box-shadow: inset 0 3px var(--bad); color: inherit; }
.card.warn { box-shadow: inset 0 3px var(--warn); color: inherit; }
.bars { display: grid; grid-template-columns: max-content minmax(6rem, 24rem) max-content; gap: .25rem .8rem;
  margin: .8rem 0; align-items: center; }
.bars i { display: block; height: .8rem; border-radius: .2rem; background: var(--accent); min-width: 1px; }
.bars span { max-width: 20rem; font-variant-numeric: tabular-nums; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
"""


@dataclass(frozen=True)
class Card:
    """A picture with lines of text.

    Attributes:
        image: 'data:' address of the picture.
        lines: plain text, the first one strong.
        tone: color of the upper edge.
        anchor: a name that links can point to; '' for none.
    """

    image: str
    lines: Sequence[str]
    tone: Tone = ""
    anchor: str = ""


@dataclass
class Page:
    """A page that grows section by section and is then written.

    The builders below return blocks of HTML; whatever they are given as text is escaped.
    """

    title: str
    subtitle: str = ""
    # Placed in the head and the end of the body, for the few pages that need more than the shared style.
    style: str = ""
    script: str = ""
    _sections: list[tuple[str, str]] = field(default_factory=list)

    def section(self, title: str, *blocks: str) -> None:
        """Add a section of blocks."""
        self._sections.append((title, "\n".join(blocks)))

    def html(self) -> str:
        """Return the whole page."""
        links = "".join(f'<a href="#s{number}">{escaped(title)}</a>' for number, (title, _) in enumerate(self._sections))
        body = "".join(f'<h2 id="s{number}">{escaped(title)}</h2>\n{blocks}\n' for number, (title, blocks) in enumerate(self._sections))
        lines = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escaped(self.title)}</title><style>{STYLE}{self.style}</style></head><body>",
            f'<header><h1>{escaped(self.title)}</h1><p class="soft">{escaped(self.subtitle)}</p><nav>{links}</nav></header>',
            body,
            f"<script>{self.script}</script>" if self.script else "",
            "</body></html>",
        ]
        return "\n".join(line for line in lines if line) + "\n"

    def write(self, path: Path) -> None:
        """Write the page, atomically."""
        write_text(path, self.html())


def paragraph(text: str, *, tone: Tone | Literal["soft"] = "") -> str:
    """Return a paragraph."""
    return f'<p class="{tone}">{escaped(text)}</p>' if tone else f"<p>{escaped(text)}</p>"


def heading(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escaped(text)}</h3>"


def tiles(facts: Mapping[str, str]) -> str:
    """Return large figures in a row, name -> value."""
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>' for name, value in facts.items())
        + "</div>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, tones: Sequence[Tone] = ()) -> str:
    """Return a table; columns whose cells are all numbers stand on the right, and `tones` color the rows."""
    body = [list(row) for row in rows]
    numeric = [bool(body) and all(_is_number(row[column]) for row in body) for column in range(len(header))]
    kinds = [' class="number"' if is_number else "" for is_number in numeric]
    head = "".join(f"<th{kind}>{escaped(cell)}</th>" for kind, cell in zip(kinds, header, strict=True))
    lines = []
    for number, row in enumerate(body):
        tone = f' class="{tones[number]}"' if tones and tones[number] else ""
        lines.append(f"<tr{tone}>" + "".join(f"<td{kind}>{_breakable(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def bars(shares: Mapping[str, float]) -> str:
    """Return horizontal bars, name -> share of one, the largest of which fills the width."""
    most = max(shares.values(), default=0.0) or 1.0
    lines = (
        f'<span>{_breakable(name)}</span><i style="width:{100 * share / most:.1f}%"></i><span>{100 * share:.1f}%</span>'
        for name, share in shares.items()
    )
    return f'<div class="bars">{"".join(lines)}</div>'


def picture(address: str, *, alt: str, caption: str = "") -> str:
    """Return a picture, by its 'data:' address, with a line below."""
    below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{escape(address)}" alt="{escaped(alt)}">{below}</figure>'


def gallery(cards: Iterable[Card], *, wide: bool = False) -> str:
    """Return cards side by side; wide ones for pictures that are rows of pictures."""
    return f'<div class="gallery{" wide" if wide else ""}">' + "".join(map(_card, cards)) + "</div>"


def folded(summary: str, *blocks: str) -> str:
    """Return blocks that show when the summary is clicked."""
    return f"<details><summary>{escaped(summary)}</summary>{''.join(blocks)}</details>"


def _card(card: Card) -> str:
    anchor = f' id="{escaped(card.anchor)}"' if card.anchor else ""
    first, *others = card.lines or [""]
    lines = f"<b>{_breakable(first)}</b>" + "".join(f"<br>{_breakable(line)}" for line in others)
    return f'<div class="card {card.tone}"{anchor}><img src="{escape(card.image)}" alt="{escaped(first)}" loading="lazy">{lines}</div>'


def escaped(text: str) -> str:
    """Return a text as HTML; file names need not be valid text."""
    return escape(text.encode(errors="replace").decode())


def _breakable(text: str) -> str:
    """Return the text with places where a long name may go on in the next line: behind its slashes and underscores."""
    return re.sub(r"([/_])(?=\w)", r"\1<wbr>", escaped(text))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().rstrip("%").replace(",", "") or "0")
    except ValueError:
        return False
    return True
