"""The page of a data check: what was found, with pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataloader.checks.examine import glimpse
from dataloader.checks.findings import LEVELS, Finding, ImageSet, Level
from dataloader.checks.survey import Survey
from utils.drawing.images import data_uri, enlarged, thumbnail
from utils.page import Card, Page, Tone, bars, folded, gallery, heading, paragraph, table, tiles

# Pictures beyond these are in check.json; a page of thousands would not open.
GROUPS, IMAGES_OF_GROUP, SIDE = 24, 6, 152
ROWS = 30
TONES: dict[Level, Tone] = {"error": "bad", "warning": "warn", "info": ""}
HEADINGS: dict[Level, str] = {"error": "Errors", "warning": "Warnings", "info": "Good to know"}
STYLE = """
.finding { border-left: 4px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: 1.4rem 0; }
.finding.bad { border-color: var(--bad); } .finding.warn { border-color: var(--warn); }
.finding.bad, .finding.warn { color: inherit; }
.finding h3 { margin-top: .2rem; }
.groups { display: flex; flex-wrap: wrap; gap: .6rem 1.8rem; }
.groups .gallery { display: flex; flex-wrap: wrap; margin: .2rem 0 .6rem; } .groups .card { width: 9.5rem; }
"""


def write_page(survey: Survey, findings: Sequence[tuple[str, Finding]], path: Path, *, command: str) -> None:
    """Write check.html: one file with everything inside."""
    catalog = survey.catalog
    counts: dict[Level, int] = {level: sum(finding.level == level for _, finding in findings) for level in LEVELS}
    page = Page(f"Data check: {catalog.root.resolve().name}", command, style=STYLE)
    facts = {"images": f"{len(survey.facts):,}", "classes": f"{len(catalog.classes):,}"}
    facts |= {name: f"{len(split):,}" for name, split in catalog.splits.items()}
    facts |= {level if counts[level] == 1 else level + "s": str(counts[level]) for level in LEVELS if level != "info"}
    page.section("Summary", tiles(facts), *_verdict(counts))
    for level in LEVELS:
        blocks = [_block(survey, finding) for _, finding in findings if finding.level == level]
        if blocks:
            page.section(HEADINGS[level], *blocks)
    page.write(path)


def _verdict(counts: dict[Level, int]) -> list[str]:
    if counts["error"]:
        return [paragraph("Errors distort metrics or lose images; fix them before training.", tone="bad")]
    if counts["warning"]:
        return [paragraph("No errors. The warnings deserve a look.", tone="warn")]
    return [paragraph("Nothing is wrong with these images, as far as a program can tell.", tone="good")]


def _block(survey: Survey, finding: Finding) -> str:
    parts = [f'<div class="finding {TONES[finding.level]}">', heading(finding.title), paragraph(finding.advice, tone="soft")]
    if finding.bars:
        shown = dict(list(finding.bars.items())[:ROWS])
        parts.append(bars(shown))
    if finding.rows:
        figures = table(finding.header, finding.rows)
        parts.append(folded("figures", figures) if len(finding.rows) > 8 else figures)
    if finding.groups:
        parts.append(_pictures(survey, finding))
        more = len(finding.groups) - GROUPS
        if more > 0:
            parts.append(paragraph(f"and {more:,} more in check.json", tone="soft"))
    return "\n".join([*parts, "</div>"])


def _pictures(survey: Survey, finding: Finding) -> str:
    shown = finding.groups[:GROUPS]
    if all(survey.facts[number].problem for group in shown for number in group.images):
        rows = [[survey.picture(group.images[0]).path, group.note] for group in shown]
        return table(["file", "what is wrong"], rows)
    if max(len(group.images) for group in shown) == 1:
        cards = (_card(survey, group.images[0], group, finding.level) for group in shown)
        return gallery(cards)
    rows = (
        f"<div>{paragraph(group.note, tone='soft')}"
        + gallery(_card(survey, number, group, finding.level) for number in group.images[:IMAGES_OF_GROUP])
        + "</div>"
        for group in shown
    )
    return f'<div class="groups">{"".join(rows)}</div>'


def _card(survey: Survey, number: int, group: ImageSet, level: Level) -> Card:
    picture, facts = survey.picture(number), survey.facts[number]
    lines = [picture.path, f"{facts.width}x{facts.height}, {facts.size / 1024:,.0f} kB"]
    if len(group.images) == 1 and group.note:
        lines.append(group.note)
    elif len(group.images) > 1:
        lines.append(f"{picture.split}: {picture.label}")
    image = enlarged(thumbnail(np.asarray(glimpse(picture.file, SIDE)), 2 * SIDE), SIDE)
    return Card(data_uri(image), lines, tone=TONES[level])
