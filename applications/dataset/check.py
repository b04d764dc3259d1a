"""Looks for what is wrong with the images of --data; moves bad files away, and brings them back."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rich.text import Text

from applications.dataset.check_page import write_page
from applications.dataset.written_data import describe, name_of_data
from applications.settings.commands import check_command
from applications.settings.options import DataOptions, Request, RunConfig, run_folder_parent
from applications.tasks import TASKS
from dataloader.checks import CHECKS
from dataloader.checks.findings import LEVELS, Finding, Level
from dataloader.checks.many_files import look_at_all
from dataloader.checks.quarantine import Move, quarantine, restore
from dataloader.checks.survey import Survey
from dataloader.opening.folds import take_fold
from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.lists import find_lists
from dataloader.splits.catalog import Catalog
from utils.cores import default_workers
from utils.errors import UserError
from utils.files import new_folder, write_text
from utils.logs import console, log
from utils.progress_bar import progress_bar
from utils.text import counted, printable

MOST_LINES = 20
STYLES: dict[Level, str] = {"error": "bold red", "warning": "yellow", "info": "dim"}


def run(request: Request) -> int:
    """Check --data; return 1 when an error is left, else 0."""
    config = request.config
    catalog = _open(config)
    if any(split.store is not None for split in catalog.splits.values()):
        raise UserError(
            f"--check looks at files, and the images of {catalog.root} lie in archives; check the folder that they were made from"
        )
    if config.check.fix and any(split.truths is not None for split in catalog.splits.values()):
        raise UserError("--fix moves images, and would leave their masks behind; check without --fix, and move both")
    if config.check.fix and (catalog.listed or find_lists(catalog.root)):
        _refuse_fix(config.data)
    log().info(f"data      {catalog.root}: {describe(catalog)}")
    started = time.monotonic()
    survey = look(config.data, catalog)
    findings = run_checks(survey)
    folder = new_folder(run_folder_parent(config.output, "check"), config.output.name or name_of_data(config.data.data, catalog.root))
    write_text(folder / "check.json", json.dumps(as_plain(survey, findings), indent=1) + "\n")
    write_page(survey, findings, folder / "check.html", command=check_command(config))
    left = [finding for _, finding in findings if finding.level == "error"]
    print_findings(survey, findings)
    log().info(f"looked at {counted(len(survey.facts), 'image')} in {time.monotonic() - started:.1f} s")
    log().info(f"written   {folder / 'check.html'}, {folder / 'check.json'}")
    if config.check.fix:
        left = _fix(survey, findings, folder.name)
    elif any(finding.fixable for finding in left):
        log().info(_what_is_next(config, catalog))
    return 1 if left else 0


def _open(config: RunConfig) -> Catalog:
    """Return the images in the splits, or in the fold, of a training with the same flags."""
    data, seed = config.data, config.split_seed
    found = open_catalog(
        data.data,
        seed=seed,
        val_share=data.val_share,
        test_share=data.test_share,
        group_by=data.group_by,
        require_train=False,
        tolerant=True,
        target=None if config.train.task is None else TASKS.resolve(config.train.task).target,
        asked_by=f"--task {config.train.task}",
        reading=config.truths.reading(),
    )
    return found if data.fold is None else take_fold(found, data.fold, seed=seed)


def _what_is_next(config: RunConfig, catalog: Catalog) -> str:
    """Return a line about files that can only be removed."""
    if catalog.listed:
        return f"next: take the lines of these files out of {config.data.data}"
    return f"next: {check_command(config, '--fix')}    # moves away what can only be removed"


def undo(request: Request) -> int:
    """Bring back what the log that --undo names moved away; return 1 when something had to stay."""
    back, kept = restore(Path(request.subject))
    for line in kept:
        log().warning(line)
    log().info(f"{counted(back, 'file is', 'files are')} back" + (f", {counted(len(kept), 'is', 'are')} not" if kept else ""))
    return 1 if kept else 0


def look(data: DataOptions, catalog: Catalog) -> Survey:
    """Look at every image once, with a progress bar on a terminal and lines elsewhere."""
    files = [split.file(index) for split in catalog.splits.values() for index in range(len(split))]
    workers = default_workers() if data.workers is None else data.workers
    if workers < 0:
        raise UserError(f"-j {workers}: write 0 or more processes")
    with progress_bar("images", len(files)) as advance:
        facts = look_at_all(files, workers=workers, advance=advance)
    return Survey(catalog, facts, data.image_size)


def run_checks(survey: Survey) -> list[tuple[str, Finding]]:
    """Return what every check of the table found, with its name: errors first, then in the order of the table."""
    found = [(name, finding) for name in CHECKS for finding in CHECKS.resolve(name)(survey)]
    return sorted(found, key=lambda pair: LEVELS.index(pair[1].level))


def as_plain(survey: Survey, findings: Sequence[tuple[str, Finding]]) -> dict[str, Any]:
    """Return everything that was found as plain values, for check.json."""
    catalog = survey.catalog
    return {
        "data": str(catalog.root),
        "classes": list(catalog.classes),
        "images": {name: len(split) for name, split in catalog.splits.items()},
        "levels": {level: sum(finding.level == level for _, finding in findings) for level in LEVELS},
        "findings": [
            {
                "check": name,
                "level": finding.level,
                "title": finding.title,
                "advice": finding.advice,
                "figures": dict(finding.figures),
                "lines": list(finding.lines),
                "groups": [
                    {"note": group.note, "images": [_plain_image(survey, number) for number in group.images]} for group in finding.groups
                ],
                "fixable": [survey.picture(number).path for number in finding.fixable],
            }
            for name, finding in findings
        ],
    }


def _plain_image(survey: Survey, number: int) -> dict[str, str]:
    picture = survey.picture(number)
    return {"split": picture.split, "label": picture.label, "path": picture.path}


def print_findings(survey: Survey, findings: Sequence[tuple[str, Finding]]) -> None:
    """Print a line a finding with an example, and what to do about errors."""
    for _, finding in findings:
        line = Text()
        line.append(f"{finding.level:<9}", style=STYLES[finding.level])
        line.append(finding.title, style="" if finding.level == "info" else "bold")
        if finding.groups:
            first = finding.groups[0]
            names = " = ".join(printable(survey.picture(number).path) for number in first.images[:2])
            line.append(
                f"; {'' if len(finding.groups) == 1 else 'such as '}{names}" + (f" ({first.note})" if first.note else ""), style="dim"
            )
        console().print(line)
        for each in finding.lines[:MOST_LINES]:
            console().print(Text(" " * 9 + printable(each)))
        if len(finding.lines) > MOST_LINES:
            console().print(Text(f"{'':9}and {len(finding.lines) - MOST_LINES:,} more, all of them in check.json"))
        if finding.level == "error":
            console().print(Text(" " * 9 + finding.advice, style="dim"))
    counts = {level: sum(finding.level == level for _, finding in findings) for level in LEVELS}
    log().info("")
    log().info(", ".join(counted(count, level, "info" if level == "info" else "") for level, count in counts.items()))


def _refuse_fix(data: DataOptions) -> None:
    raise UserError(
        f"--fix moves files, and the list {data.data} would then name files that are gone; "
        "check without --fix and take the lines out of the list"
    )


def _fix(survey: Survey, findings: Sequence[tuple[str, Finding]], name: str) -> list[Finding]:
    """Move away what can be; return the errors that need a person."""
    moves: dict[int, Move] = {}
    for check, finding in findings:
        for number in finding.fixable:
            picture = survey.picture(number)
            reason = survey.facts[number].reason or f"the same as {_kept(survey, finding, number)}"
            moves.setdefault(number, Move(picture.path, Path(picture.file), f"{check}: {reason}"))
    if moves:
        file = quarantine(list(moves.values()), survey.catalog.root, name)
        log().info(f"moved {counted(len(moves), 'file')} to {file.parent}")
        log().info(f"bring them back with: python main.py --undo {quote(str(file))}")
    else:
        log().info("there is nothing that --fix may move")
    left = [finding for _, finding in findings if finding.level == "error" and _stays(finding)]
    if left:
        log().warning(f"{counted(len(left), 'error needs', 'errors need')} a person: see the page")
    return left


def _kept(survey: Survey, finding: Finding, number: int) -> str:
    """Return the path of the copy that stays."""
    group = next(group for group in finding.groups if number in group.images)
    return survey.picture(next(other for other in group.images if other not in finding.fixable)).path


def _stays(finding: Finding) -> bool:
    """Whether a group of the finding is as it was after everything fixable is moved."""
    fixed = set(finding.fixable)
    return any(fixed.isdisjoint(group.images) for group in finding.groups)
