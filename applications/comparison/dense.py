"""--compare by figures of images, for the rows of COMPARISONS: segmenters, and detectors of defects."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from applications.assemble import Machine
from applications.comparison import COMPARISONS
from applications.comparison.paired_images import EXCHANGES, RESAMPLES, ImageCounts, ImagePair, compare_images, sentence
from applications.report.report_part import plain_floats
from applications.settings.options import Request
from applications.trained.any_model import load_model
from applications.trained.checkpoint import Trained, open_held_out, warn_of_seen_images
from applications.trained.trained_task import build_trained_task
from dataloader.splits.split import Split
from utils.errors import UserError, shorten
from utils.files import new_folder, removed_on_error, write_csv, write_text
from utils.logs import log
from utils.page import Page, paragraph, table
from utils.terminal_tables import print_table

HEADER = ("difference", "from", "to", "p", "verdict")


def compare_dense(request: Request, machine: Machine) -> int:
    """Compare the models of --compare with the first of them.

    Raises:
        UserError: a model cannot be read, or was measured on other images, classes or truths than the first.
    """
    models = _named_apart([_asked(request, place, machine) for place in request.subjects])
    if not machine.world.is_first:
        return 0
    for other in models[1:]:
        refuse_other(models[0], other)
    seed, output = request.config.runtime.seed, request.config.output
    pairs = compare_images(models, seed=seed)
    with removed_on_error(new_folder(Path(output.logdir) / "compare", output.name or "comparison")) as folder:
        _write(models, pairs, folder, seed)
    return 0


def _asked(request: Request, place: str, machine: Machine) -> ImageCounts:
    try:
        trained = load_model(place, request, machine.device)
        split = open_held_out(trained, ("test", "val"))
        log().info(f"predict   {len(split)} {split.name} images with {trained.describe()}")
        if machine.world.is_first:
            warn_of_seen_images(trained, split, place)
        return _counts(trained, split, machine)
    except UserError as error:
        raise UserError(f"--compare {place}: {error}") from error


def _counts(trained: Trained, split: Split, machine: Machine) -> ImageCounts:
    counted = COMPARISONS.resolve(trained.task)(trained, split, build_trained_task(trained, machine.device), machine)
    root = os.path.abspath(split.root)
    paths = tuple(os.path.relpath(split.file(position), root) for position in counted.positions)
    groups = tuple(split.groups[position] for position in counted.positions) if split.groups else ()
    folder = Path(trained.path)
    name = folder.parent.name if trained.exported is None else f"{folder.parent.name}/{folder.name}"
    return ImageCounts(name, str(folder), trained.classes, paths, counted.truth, counted.rows, counted.figures, groups)


def _named_apart(models: Sequence[ImageCounts]) -> list[ImageCounts]:
    """Return the models with distinct names."""
    names = [model.name for model in models]
    apart = [model if names.count(model.name) == 1 else replace(model, name=model.source) for model in models]
    names = [model.name for model in apart]
    return [
        model if names.count(model.name) == 1 else replace(model, name=f"{model.name} ({number})") for number, model in enumerate(apart, 1)
    ]


def refuse_other(first: ImageCounts, other: ImageCounts) -> None:
    """Raise UserError where two models were measured on other images, classes or truths."""
    pair = f"--compare: {first.name} and {other.name}"
    if first.classes != other.classes:
        odd = tuple(sorted(set(first.classes) ^ set(other.classes)))
        said = f"{shorten(odd, 4)} in only one of them" if odd else "in another order"
        raise UserError(f"{pair} have different classes ({said}); compare models with equal classes")
    if first.images != other.images:
        odd = sorted(set(first.images) ^ set(other.images))
        example = f"{len(odd)} are in only one of them, such as {odd[0]}" if odd else "their order differs"
        raise UserError(f"{pair} were measured on different images ({example}); give both the same --data and --split")
    if first.truth != other.truth:
        place = next(row for row, (mine, theirs) in enumerate(zip(first.truth, other.truth, strict=True)) if mine != theirs)
        raise UserError(f"{pair} were measured with different truths, such as that of {first.images[place]}; give both the same --data")


def _write(models: Sequence[ImageCounts], pairs: Sequence[ImagePair], folder: Path, seed: int) -> None:
    """Print what was found, and write compare.html, compare.csv and compare.json."""
    first = models[0]
    measured = {model.name: model.measured() for model in models}
    headline = next(iter(measured[first.name]))
    rows = [[first.name, f"{measured[first.name][headline]:.2%}", "", "", "", "", "the first"]]
    for pair in pairs:
        change = pair.differences[headline]
        limits = [f"{100 * value:+.2f}" for value in (change.value, change.low, change.high)]
        rows.append([pair.other.name, f"{measured[pair.other.name][headline]:.2%}", *limits, f"{pair.p:.3g}", pair.verdict()])
    header = ["model", headline, *HEADER]
    print_table(header, rows, left=("verdict",))
    said = [sentence(first, pair) for pair in pairs]
    for line in said:
        log().info(line)
    write_csv(folder / "compare.csv", [header, *rows])
    content = {
        "images": len(first.images),
        "first": first.name,
        "models": {model.name: {"source": model.source, "figures": measured[model.name]} for model in models},
        "comparisons": {
            pair.other.name: {
                "verdict": pair.verdict(),
                "p": pair.p,
                **({} if pair.groups is None else {"groups": pair.groups}),
                "differences": {name: each.to_dict() for name, each in pair.differences.items()},
            }
            for pair in pairs
        },
    }
    write_text(folder / "compare.json", json.dumps(plain_floats(content), indent=2) + "\n")
    page = Page(f"{len(models)} models on {len(first.images)} images", f"each compared with {first.name}")
    note = (
        f"Differences are in percentage points, with 95% intervals of a paired bootstrap over images, or over their groups ({RESAMPLES} "
        f"resamples, seed {seed}). p is that of a randomization test, which exchanges the answers of the two models image by image, or "
        f"group by group ({EXCHANGES} times), adjusted by Holm when there are several comparisons."
    )
    page.section("Which is better?", *(paragraph(line) for line in said), table(header, rows), paragraph(note, tone="soft"))
    figures = [[pair.other.name, name, each.text("+.2%")] for pair in pairs for name, each in pair.differences.items()]
    page.section("All figures", table(["model", "figure", "difference to the first, with its interval"], figures))
    page.write(folder / "compare.html")
    log().info(f"written   {folder} (compare.html, compare.json, compare.csv)")
