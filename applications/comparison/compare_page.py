"""The page of --compare: metrics side by side, classes, and the images that flipped."""

from collections.abc import Mapping, Sequence

import numpy as np

from applications.assemble.seen_images import describe_overlap
from applications.comparison.label_answers import ModelAnswers
from applications.comparison.paired_labels import LOSS, RESAMPLES, SIGNIFICANT, Pair, class_rows, names_of, sentence
from applications.report.report_part import Thumbnails, as_percent
from dataloader.images.read import ImageError, read_image
from utils.page import Page, Tone, gallery, heading, paragraph, table
from utils.text import counted

FLIPS_SHOWN = 24
LOWER_IS_BETTER = (LOSS, "calibration error")


def comparison_page(
    models: Sequence[ModelAnswers],
    pairs: Sequence[Pair],
    rows: list[list[str]],
    measured: Mapping[str, Mapping[str, float]],
    *,
    seed: int,
    reasons: Sequence[str] = (),
) -> Page:
    """Return the page of models and pairs.

    Args:
        models: the first, and those compared with it.
        pairs: what `compare` found.
        rows: their table with its header.
        measured: model -> figure -> value.
        seed: of the bootstrap.
        reasons: why no conclusion is drawn about other models in the table.
    """
    first, headline = models[0], rows[0][1]
    unit, test = "images", "McNemar's exact test"
    if pairs and pairs[0].groups is not None:
        unit = f"the {counted(pairs[0].groups, 'group')} that the images come in"
        test = "the exact test that exchanges the two models in whole groups (McNemar's would count images)"
    page = Page(f"{len(models)} models on {len(first.files)} images", f"each compared with {first.name}")
    tones: list[Tone] = ["", *(_tone(pair) for pair in pairs), *("" for _ in reasons)]
    page.section(
        "Which is better?",
        *(paragraph(sentence(first, pair, headline), tone=_tone(pair)) for pair in pairs),
        *(paragraph(line, tone="bad") for model in models for line in _leaks(model)),
        *(paragraph(f"No conclusion: {why}", tone="warn") for why in reasons),
        table(rows[0], rows[1:], tones=tones),
        paragraph(
            f"Differences are in percentage points, with 95% intervals of a paired bootstrap over {unit} ({RESAMPLES} resamples, seed "
            f"{seed}). p is that of {test} on the images that only one of the two models answers rightly, adjusted by Holm when "
            f"there are several comparisons; below {SIGNIFICANT} a difference is called significant. "
            "Where no image flips, the interval is Wilson's. "
            "The exact test is stricter than the interval of a metric. The calibrated loss is computed after temperature scaling, "
            "the loss of a report before it, so the two cannot be compared.",
            tone="soft",
        ),
    )
    for pair in pairs:
        blocks = [_figures_table(first, pair, measured), heading("Classes"), _class_table(first, pair), *_flips(first, pair)]
        page.section(f"{pair.other.name} compared with {first.name}", *blocks)
    sources = [[model.name, model.source] for model in models]
    page.section("Where the answers come from", table(["model", "read from"], sources))
    return page


def _leaks(model: ModelAnswers) -> list[str]:
    return describe_overlap(model.seen, len(model.files), "compared", model=model.name)


def _tone(pair: Pair) -> Tone:
    return {"better": "good", "worse": "bad"}.get(pair.verdict(), "")  # pyright: ignore[reportReturnType]


def _figures_table(first: ModelAnswers, pair: Pair, measured: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for name, change in pair.differences.items():
        scale, style = (1, ".4f") if name == LOSS else (100, ".2f")
        mine, theirs = (f"{scale * measured[model.name][name]:{style}}" for model in (first, pair.other))
        better = "lower is better" if name in LOWER_IS_BETTER else ""
        rows.append([name, mine, theirs, *(f"{scale * value:+{style}}" for value in (change.value, change.low, change.high)), better])
    return table(["figure", first.name, pair.other.name, "difference", "from", "to", ""], rows)


def _class_table(first: ModelAnswers, pair: Pair) -> str:
    rows = [row[1:] for row in class_rows(first, [pair])[1:]]
    tones: list[Tone] = ["good" if int(row[-2]) > int(row[-1]) else "bad" if int(row[-2]) < int(row[-1]) else "" for row in rows]
    shown = [
        [name, images, *(as_percent(float(share)) if share else "-" for share in (mine, theirs)), *rest]
        for name, images, mine, theirs, *rest in rows
    ]
    return table(
        ["class", "images", f"recall of {first.name}", f"recall of {pair.other.name}", "points", "gained", "lost"], shown, tones=tones
    )


def _flips(first: ModelAnswers, pair: Pair) -> list[str]:
    pictures = Thumbnails(lambda row: read_image(first.files[row]))
    places = first.images
    blocks = []
    sides: list[tuple[np.ndarray, ModelAnswers, ModelAnswers, Tone]] = [
        (pair.gained, pair.other, first, "good"),
        (pair.lost, first, pair.other, "bad"),
    ]
    for members, who, other, tone in sides:
        shown = members[np.argsort(-who.probabilities[members].max(1), kind="stable")][:FLIPS_SHOWN].tolist()
        part = "" if len(shown) == len(members) else f", {len(shown)} of them; flips.csv has all"
        blocks.append(heading(f"only {who.name} is right: {len(members)} images{part}"))
        cards = []
        for row in shown:
            lines = (f"{names_of(first, first.truth[row])}, not {names_of(other, other.named[row])}", places[row])
            try:
                card = pictures.card(row, lines, tone)
            except ImageError:
                # Images may have changed since the evaluation.
                continue
            cards += [card] if card else []
        blocks.append(gallery(cards) if cards or not shown else paragraph("The images are no longer there.", tone="soft"))
    return blocks
