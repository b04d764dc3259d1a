"""--compare: whether trained models differ on the same images, by how much, where, and how sure that is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from applications import assemble
from applications.answers import PREDICTIONS, Answers, aligned, read_answers
from applications.options import Request
from applications.report import classify, multilabel
from applications.report.material import Figures, Pictures, as_percent, plain_floats
from dataloader.read import ImageError, read_image
from utils.checkpoint import BEST, find_checkpoint
from utils.distributed import close_world
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_csv, write_text
from utils.logs import console, log
from utils.page import Page, Tone, gallery, heading, paragraph, table
from utils.statistics import Interval, bootstrap, holm, mcnemar

SIGNIFICANT = 0.05
# The figures whose difference McNemar's test is about.
OF_THE_TEST = ("top1", "all labels right")
RESAMPLES = 600
FLIPS_SHOWN = 24
# Not the "loss" of an evaluation, which is measured before calibration.
LOSS = "calibrated loss"
LOWER_IS_BETTER = (LOSS, "calibration error")


@dataclass(frozen=True, eq=False)
class Pair:
    """A model beside the first one.

    Attributes:
        other: the model.
        differences: its figures minus those of the first, with paired bootstrap intervals.
        gained: images that it alone answers rightly, (G,).
        lost: images that the first alone answers rightly, (L,).
        p: of McNemar's test, adjusted for the number of comparisons.
        comparisons: that number.
    """

    other: Answers
    differences: Mapping[str, Interval]
    gained: np.ndarray
    lost: np.ndarray
    p: float
    comparisons: int = 1

    def verdict(self) -> str:
        """Return the answer in words."""
        if self.p >= SIGNIFICANT:
            return "no significant difference"
        return "better" if len(self.gained) > len(self.lost) else "worse"

    def odds(self, headline: str) -> str:
        """Return a clause on why verdict and interval of the headline figure disagree; '' where they agree."""
        interval, doubtful = self.differences[headline], self.p >= SIGNIFICANT
        if doubtful == (interval.low <= 0 <= interval.high):
            return ""
        number = len(self.gained) + len(self.lost)
        if headline not in OF_THE_TEST:
            decisive = f"the test, which decides, counts the {number} images that only one of the two answers rightly in all labels"
            return f"; the interval of {headline} {'excludes' if doubtful else 'includes'} 0, but {decisive}"
        if not doubtful:
            return "; the interval includes 0, but the exact test decides"
        adjusted = f", adjusted for {self.comparisons} comparisons," if self.comparisons > 1 else ""
        return f"; the interval alone excludes 0, but the exact test{adjusted} is stricter and decides"


def run(request: Request) -> int:
    """Compare the models of --compare with the first of them; return the exit code."""
    check_places(request.subjects)
    machine = assemble.open_machine(request.config, training=False)
    try:
        first, *rest = [read_answers(request, place, machine) for place in request.subjects]
        models = named_apart([first, *(aligned(first, other) for other in rest)])
        if machine.world.is_first:
            output = request.config.output
            with removed_on_error(new_folder(Path(output.logdir) / "compare", output.name or "comparison")) as folder:
                write_comparison(models, compare(models, seed=request.config.runtime.seed), folder, seed=request.config.runtime.seed)
        return 0
    finally:
        close_world(machine.world)


def check_places(places: Sequence[str]) -> None:
    """Raise UserError where one of the places holds no model and no evaluation, before anything slow begins."""
    for place in places:
        if (Path(place) / PREDICTIONS).is_file():
            continue
        try:
            find_checkpoint(place, BEST)
        except UserError as error:
            # Models are found as those of --resume are, which nobody wrote here.
            raise UserError(f"--compare: {str(error).removeprefix('--resume: ')}") from error


def named_apart(models: Sequence[Answers]) -> list[Answers]:
    """Return the models with names that tell them apart: their sources, where the short ones do not."""
    names = [model.name for model in models]
    apart = [model if names.count(model.name) == 1 else replace(model, name=model.source) for model in models]
    sources = [model.name for model in apart]
    return [
        model if sources.count(model.name) == 1 else replace(model, name=f"{model.name} ({number})")
        for number, model in enumerate(apart, 1)
    ]


def figures(model: Answers) -> Figures:
    """Return a function from how often each image is counted, int (N,), to the model's headline figures."""
    shares = model.probabilities
    if model.several:
        of = multilabel.figures(shares, model.truth, model.named, model.losses())
    else:
        of = classify.figures(model.truth.argmax(1), shares, model.losses(), shares)
    return lambda counts: {LOSS if name == "loss" else name: value for name, value in of(counts).items()}


def compare(models: Sequence[Answers], *, seed: int) -> list[Pair]:
    """Return each model but the first beside the first; all have been `aligned` with it."""
    first, *others = models
    flips = [(np.flatnonzero(other.right & ~first.right), np.flatnonzero(first.right & ~other.right)) for other in others]
    adjusted = holm([mcnemar(len(lost), len(gained)) for gained, lost in flips])

    of_first = figures(first)

    def differences(other: Answers) -> Figures:
        of_other = figures(other)

        def change(counts: np.ndarray) -> dict[str, float]:
            mine, theirs = of_first(counts), of_other(counts)
            return {name: theirs[name] - mine[name] for name in mine}

        return change

    return [
        Pair(
            other,
            bootstrap(differences(other), len(first.files), seed=seed, resamples=RESAMPLES),
            gained,
            lost,
            p,
            len(others),
        )
        for other, (gained, lost), p in zip(others, flips, adjusted, strict=True)
    ]


def write_comparison(models: Sequence[Answers], pairs: Sequence[Pair], folder: Path, *, seed: int) -> None:
    """Print what `compare` found, and write compare.html and its kin into the folder."""
    first = models[0]
    headline = next(iter(pairs[0].differences))
    everyone = np.ones(len(first.files), dtype=int)
    measured = {model.name: figures(model)(everyone) for model in models}
    rows = [_row(pair, headline, measured) for pair in pairs]
    header = ["model", headline, "difference", "from", "to", "right alone", "first right alone", "p", "verdict"]
    start = [first.name, f"{measured[first.name][headline]:.2%}", "", "", "", "", "", "", "the first"]
    _print([header, start, *rows])
    for pair in pairs:
        log().info(_sentence(first, pair, headline))
    write_csv(folder / "compare.csv", [header, start, *rows])
    write_csv(folder / "classes.csv", class_rows(first, pairs))
    write_csv(folder / "flips.csv", _flip_rows(first, pairs))
    content = {
        "images": len(first.files),
        "first": first.name,
        "models": {model.name: {"source": model.source, "figures": measured[model.name]} for model in models},
        "comparisons": {pair.other.name: _plain(pair) for pair in pairs},
    }
    write_text(folder / "compare.json", json.dumps(plain_floats(content), indent=2) + "\n")
    _page(models, pairs, [header, start, *rows], measured, seed=seed).write(folder / "compare.html")
    log().info(f"written: {folder} (compare.html, compare.json, compare.csv, classes.csv, flips.csv)")


def _row(pair: Pair, headline: str, measured: Mapping[str, Mapping[str, float]]) -> list[str]:
    change = pair.differences[headline]
    limits = [f"{100 * value:+.2f}" for value in (change.value, change.low, change.high)]
    counts = [str(len(pair.gained)), str(len(pair.lost))]
    return [pair.other.name, f"{measured[pair.other.name][headline]:.2%}", *limits, *counts, f"{pair.p:.3g}", pair.verdict()]


def _sentence(first: Answers, pair: Pair, headline: str) -> str:
    change = pair.differences[headline]
    points = f"{headline} {100 * change.value:+.2f} points ({100 * change.low:+.2f} to {100 * change.high:+.2f}), p = {pair.p:.3g}"
    if pair.p >= SIGNIFICANT:
        return f"no significant difference between {first.name} and {pair.other.name}: {points}{pair.odds(headline)}"
    return f"{pair.other.name} is {pair.verdict()} than {first.name}: {points}{pair.odds(headline)}"


def _plain(pair: Pair) -> dict:
    return {
        "verdict": pair.verdict(),
        "p": pair.p,
        "right_alone": len(pair.gained),
        "first_right_alone": len(pair.lost),
        "differences": {name: each.to_dict() for name, each in pair.differences.items()},
    }


def _print(rows: list[list[str]]) -> None:
    shown = Table(rows[0][0], box=None, pad_edge=False)
    for name in rows[0][1:]:
        shown.add_column(name, justify="left" if name == "verdict" else "right")
    for row in rows[1:]:
        shown.add_row(*row)
    console().print(shown)


def recalls(model: Answers) -> np.ndarray:
    """Return, of the images of every class, the share that the model names it for, (C,); nan without any."""
    counts = model.truth.sum(0)
    return np.where(counts > 0, (model.truth & model.named).sum(0) / np.maximum(counts, 1), np.nan)


def class_rows(first: Answers, pairs: Sequence[Pair]) -> list[list[str]]:
    """Return, for every model and class, the recall of both, and the images that were gained and lost, below a header."""
    rows = [["model", "class", "images", "recall of the first", "recall", "points", "gained", "lost"]]
    mine = recalls(first)
    for pair in pairs:
        theirs = recalls(pair.other)
        for number, name in enumerate(first.classes):
            members = first.truth[:, number]
            gained, lost = (int(members[flips].sum()) for flips in (pair.gained, pair.lost))
            shown = [f"{value:.4f}" for value in (mine[number], theirs[number])]
            points = f"{100 * (theirs[number] - mine[number]):+.2f}"
            rows.append([pair.other.name, name, str(members.sum()), *shown, points, str(gained), str(lost)])
    return rows


def _flip_rows(first: Answers, pairs: Sequence[Pair]) -> list[list[str]]:
    rows = [["model", "image", "true", "first says", "model says", "right"]]
    for pair in pairs:
        for members, who in ((pair.gained, pair.other.name), (pair.lost, first.name)):
            for row in members.tolist():
                said = [_names(model, model.named[row]) for model in (first, pair.other)]
                rows.append([pair.other.name, first.files[row], _names(first, first.truth[row]), *said, who])
    return rows


def _names(model: Answers, flags: np.ndarray) -> str:
    return ", ".join(model.classes[number] for number in np.flatnonzero(flags)) or "nothing"


def _page(
    models: Sequence[Answers], pairs: Sequence[Pair], rows: list[list[str]], measured: Mapping[str, Mapping[str, float]], *, seed: int
) -> Page:
    first, headline = models[0], rows[0][1]
    page = Page(f"{len(models)} models on {len(first.files)} images", f"each beside {first.name}")
    tones: list[Tone] = ["", *(_tone(pair) for pair in pairs)]
    page.section(
        "Which is better?",
        *(paragraph(_sentence(first, pair, headline), tone=_tone(pair)) for pair in pairs),
        table(rows[0], rows[1:], tones=tones),
        paragraph(
            f"Differences are in points of one hundred, with 95 % intervals of a paired bootstrap over images ({RESAMPLES} resamples, seed "
            f"{seed}). p is that of McNemar's exact test on the images that one of two models alone answers rightly, adjusted by Holm when "
            f"there are several comparisons; below {SIGNIFICANT} a difference is called significant. "
            "The exact test is stricter than the interval of a figure. The calibrated loss is that of the probabilities as they are "
            "answered; the loss of a report is measured before calibration, so the two are not to be compared.",
            tone="soft",
        ),
    )
    for pair in pairs:
        blocks = [_figures_table(first, pair, measured), heading("Classes"), _class_table(first, pair), *_flips(first, pair)]
        page.section(f"{pair.other.name} beside {first.name}", *blocks)
    sources = [[model.name, model.source] for model in models]
    page.section("Where the answers come from", table(["model", "read from"], sources))
    return page


def _tone(pair: Pair) -> Tone:
    return {"better": "good", "worse": "bad"}.get(pair.verdict(), "")  # pyright: ignore[reportReturnType]


def _figures_table(first: Answers, pair: Pair, measured: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for name, change in pair.differences.items():
        scale, style = (1, ".4f") if name == LOSS else (100, ".2f")
        mine, theirs = (f"{scale * measured[model.name][name]:{style}}" for model in (first, pair.other))
        better = "lower is better" if name in LOWER_IS_BETTER else ""
        rows.append([name, mine, theirs, *(f"{scale * value:+{style}}" for value in (change.value, change.low, change.high)), better])
    return table(["figure", first.name, pair.other.name, "difference", "from", "to", ""], rows)


def _class_table(first: Answers, pair: Pair) -> str:
    rows = [row[1:] for row in class_rows(first, [pair])[1:]]
    tones: list[Tone] = ["good" if int(row[-2]) > int(row[-1]) else "bad" if int(row[-2]) < int(row[-1]) else "" for row in rows]
    shown = [[name, images, as_percent(float(mine)), as_percent(float(theirs)), *rest] for name, images, mine, theirs, *rest in rows]
    return table(
        ["class", "images", f"recall of {first.name}", f"recall of {pair.other.name}", "points", "gained", "lost"], shown, tones=tones
    )


def _flips(first: Answers, pair: Pair) -> list[str]:
    pictures = Pictures(lambda row: read_image(first.files[row]))
    places = first.images
    blocks = []
    sides: list[tuple[np.ndarray, Answers, Answers, Tone]] = [
        (pair.gained, pair.other, first, "good"),
        (pair.lost, first, pair.other, "bad"),
    ]
    for members, who, other, tone in sides:
        shown = members[np.argsort(-who.probabilities[members].max(1), kind="stable")][:FLIPS_SHOWN].tolist()
        part = "" if len(shown) == len(members) else f", {len(shown)} of them; flips.csv has all"
        blocks.append(heading(f"{who.name} alone is right: {len(members)} images{part}"))
        cards = []
        for row in shown:
            lines = (f"{_names(first, first.truth[row])}, not {_names(other, other.named[row])}", places[row])
            try:
                card = pictures.card(row, lines, tone)
            except ImageError:
                # The evaluation may be older than the images.
                continue
            cards += [card] if card else []
        blocks.append(gallery(cards) if cards or not shown else paragraph("The images are no longer there.", tone="soft"))
    return blocks
