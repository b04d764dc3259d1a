"""How far something slow has come: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from utils.logs import console, log

# Seconds without a word after which people wonder whether a program still runs.
SILENCE = 8.0


@contextmanager
def progress_bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Follow the block, of unknown length for None; it gets a function that says how many more of `total` are done.

    On one of several processes alone the bar is `shown`; lines are left to the log, which knows who speaks.
    """
    draws = console().is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=not (draws and shown)) as bar:
        line = bar.add_task(what, total=total)
        done, said = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, said
            done += count
            bar.advance(line, count)
            if not draws and time.monotonic() - said >= SILENCE:
                said = time.monotonic()
                log().info(f"{what} {done}" if total is None else f"{what} {done}/{total}")

        yield advance
