"""--compare: tests whether trained models differ on the same images, and writes a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from applications import assemble
from applications.assemble import Machine
from applications.assemble.seen_images import TRAINED_ON, describe_overlap
from applications.comparison import COMPARISONS
from applications.comparison.compare_page import comparison_page
from applications.comparison.dense import compare_dense
from applications.comparison.label_answers import (
    PREDICTIONS,
    ModelAnswers,
    OtherImagesError,
    aligned,
    kind_of,
    read_answers,
    refuse_unlike,
    task_of,
)
from applications.comparison.paired_labels import Pair, class_rows, compare, counted_metrics, named_apart, names_of, sentence
from applications.report.report_part import plain_floats
from applications.settings.options import Request
from applications.tasks import TASKS
from applications.tasks.label_task import LabelTask
from applications.trained.exported import is_exported
from utils.checkpoint import BEST, find_checkpoint
from utils.distributed import close_world
from utils.errors import UserError
from utils.files import new_folder, removed_on_error, write_csv, write_text
from utils.logs import log
from utils.terminal_tables import print_table


def run(request: Request) -> int:
    """Compare the models of --compare with the first of them; return the exit code."""
    check_places(request.subjects)
    if is_dense(request.subjects):
        machine = assemble.open_machine(request.config, training=False)
        try:
            return compare_dense(request, machine)
        finally:
            close_world(machine.world)
    # Checked first, since predicting is slow and models with different classes cannot be compared.
    first, *others = [kind_of(place) for place in request.subjects]
    for other in others:
        refuse_unlike(first, other)
    machine = assemble.open_machine(request.config, training=False)
    try:
        first, *rest = [_asked(request, place, machine) for place in request.subjects]
        named = named_apart([first, *rest])
        if machine.world.is_first:
            # Only the first process has the answers of all.
            models, apart = alike(named)
            output = request.config.output
            with removed_on_error(new_folder(Path(output.logdir) / "compare", output.name or "comparison")) as folder:
                seed = request.config.runtime.seed
                write_comparison(models, compare(models, seed=seed), folder, seed=seed, apart=apart)
        return 0
    finally:
        close_world(machine.world)


def is_dense(places: Sequence[str]) -> bool:
    """Whether the models answer something else than labels, which is compared by a row of COMPARISONS.

    Raises:
        UserError: their tasks differ, or one of them is the folder of an evaluation, which does not hold what is compared.
    """
    tasks = {place: task_of(place) for place in places}
    dense = [place for place, task in tasks.items() if not issubclass(TASKS.resolve(task), LabelTask)]
    if not dense:
        return False
    for task in tasks.values():
        assemble.refuse_unable(TASKS.resolve(task), {"compare": True})
    if len(set(tasks.values())) > 1:
        raise UserError(f"--compare: models of one task can be compared, and these are of {', '.join(sorted(set(tasks.values())))}")
    COMPARISONS.check(tasks[dense[0]])
    if folder := next((place for place in dense if (Path(place) / PREDICTIONS).is_file()), None):
        raise UserError(
            f"--compare {folder}: of --task {tasks[folder]}, name runs, checkpoints or exported files, not folders of evaluations"
        )
    return True


def alike(models: Sequence[ModelAnswers]) -> tuple[list[ModelAnswers], dict[str, tuple[ModelAnswers, str]]]:
    """Return the models that answered the images of the first, and the others, name -> (answers, why no conclusion is drawn).

    Raises:
        UserError: a model has other classes.
    """
    first, *rest = models
    found, apart = [first], {}
    for other in rest:
        try:
            found.append(aligned(first, other))
        except OtherImagesError as error:
            apart[other.name] = other, str(error)
    return found, apart


def _asked(request: Request, place: str, machine: Machine) -> ModelAnswers:
    try:
        return read_answers(request, place, machine)
    except UserError as error:
        raise UserError(f"--compare {place}: {error}") from error


def check_places(places: Sequence[str]) -> None:
    """Raise UserError early where one of the places holds neither a model nor an evaluation."""
    for place in places:
        if (Path(place) / PREDICTIONS).is_file() or is_exported(place):
            continue
        try:
            find_checkpoint(place, BEST)
        except UserError as error:
            # find_checkpoint speaks of --resume; the user wrote --compare.
            raise UserError(f"--compare: {str(error).removeprefix('--resume: ')}") from error


def write_comparison(
    models: Sequence[ModelAnswers],
    pairs: Sequence[Pair],
    folder: Path,
    *,
    seed: int,
    apart: Mapping[str, tuple[ModelAnswers, str]] | None = None,
) -> None:
    """Print what `compare` found, and write compare.html and the tables into the folder; `apart` are models on other images."""
    first, apart = models[0], apart or {}
    measured = {model.name: counted_metrics(model)(np.ones(len(model.files), dtype=int)) for model in models}
    elsewhere = {name: counted_metrics(model)(np.ones(len(model.files), dtype=int)) for name, (model, _) in apart.items()}
    headline = next(iter(measured[first.name]))
    rows = [_row(pair, headline, measured) for pair in pairs]
    rows += [[name, f"{found[headline]:.2%}", "", "", "", "", "", "", "no conclusion"] for name, found in elsewhere.items()]
    header = ["model", headline, "difference", "from", "to", "only it is right", "only the first is right", "p", "verdict"]
    start = [first.name, f"{measured[first.name][headline]:.2%}", "", "", "", "", "", "", "the first"]
    print_table(header, [start, *rows], left=("verdict",))
    for pair in pairs:
        log().info(sentence(first, pair, headline))
    for model in models:
        for line in describe_overlap(model.seen, len(model.files), "compared", model=model.name):
            log().warning(line)
    for _, why in apart.values():
        log().warning(f"no conclusion: {why}")
    write_csv(folder / "compare.csv", [header, start, *rows])
    write_csv(folder / "classes.csv", class_rows(first, pairs))
    write_csv(folder / "flips.csv", _flip_rows(first, pairs))
    content = {
        "images": len(first.files),
        "first": first.name,
        "models": {
            model.name: {"source": model.source, "figures": measured[model.name], TRAINED_ON: _plain_overlap(model)} for model in models
        },
        "comparisons": {pair.other.name: _plain(pair) for pair in pairs},
        "no_conclusion": {
            name: {"source": model.source, "images": len(model.files), "figures": elsewhere[name], "why": why}
            for name, (model, why) in apart.items()
        },
    }
    write_text(folder / "compare.json", json.dumps(plain_floats(content), indent=2) + "\n")
    reasons = [why for _, why in apart.values()]
    comparison_page(models, pairs, [header, start, *rows], measured, seed=seed, reasons=reasons).write(folder / "compare.html")
    log().info(f"written   {folder} (compare.html, compare.json, compare.csv, classes.csv, flips.csv)")


def _row(pair: Pair, headline: str, measured: Mapping[str, Mapping[str, float]]) -> list[str]:
    change = pair.differences[headline]
    limits = [f"{100 * value:+.2f}" for value in (change.value, change.low, change.high)]
    counts = [str(len(pair.gained)), str(len(pair.lost))]
    return [pair.other.name, f"{measured[pair.other.name][headline]:.2%}", *limits, *counts, f"{pair.p:.3g}", pair.verdict()]


def _plain(pair: Pair) -> dict:
    return {
        "verdict": pair.verdict(),
        "p": pair.p,
        **({} if pair.groups is None else {"groups": pair.groups}),
        "right_alone": len(pair.gained),
        "first_right_alone": len(pair.lost),
        "differences": {name: each.to_dict() for name, each in pair.differences.items()},
    }


def _plain_overlap(model: ModelAnswers) -> dict[str, int] | None:
    return None if model.seen is None else model.seen._asdict()


def _flip_rows(first: ModelAnswers, pairs: Sequence[Pair]) -> list[list[str]]:
    rows = [["model", "image", "true", "first says", "model says", "right"]]
    for pair in pairs:
        for members, who in ((pair.gained, pair.other.name), (pair.lost, first.name)):
            for row in members.tolist():
                said = [names_of(model, model.named[row]) for model in (first, pair.other)]
                rows.append([pair.other.name, first.files[row], names_of(first, first.truth[row]), *said, who])
    return rows
