"""Lines for people: one logger, one console, one log file a run."""

import logging
import sys
import warnings
from contextlib import suppress
from functools import cache
from logging.handlers import MemoryHandler
from pathlib import Path

from rich.console import Console

NAME = "darkroom"


@cache
def console() -> Console:
    """Return the terminal that progress bars and log lines share; tables in a pipe are not squeezed into 80 columns."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)


def log() -> logging.Logger:
    """Return Darkroom's logger."""
    return logging.getLogger(NAME)


class _ConsoleHandler(logging.Handler):
    """Prints through the console, so that a line never breaks a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        style = "yellow" if record.levelno >= logging.WARNING else None
        console().print(text, style=style, markup=False, soft_wrap=True)


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno == logging.WARNING else ""
        return prefix + record.getMessage()


def open_logging(*, speaks: bool, level: str = "info") -> None:
    """Send log lines from a level on to the terminal; a process that does not speak (rank > 0) shows errors alone."""
    # A full disk must not bury the run's own message under tracebacks of the log file.
    logging.raiseExceptions = False
    logger = log()
    logger.propagate = False
    logger.setLevel(logging.INFO if speaks else logging.ERROR)
    if not any(isinstance(handler, _ConsoleHandler) for handler in logger.handlers):
        handler = _ConsoleHandler()
        handler.setFormatter(_LineFormatter())
        handler.setLevel(level.upper())
        logger.addHandler(handler)
        # Lines from before the run has a folder wait here for its log file.
        logger.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False))
    # Raised inside PyTorch at every use, about things a user of Darkroom cannot change.
    warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated.*")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*pin_memory.*no accelerator.*")


def log_to_file(path: Path) -> None:
    """Append every log line, those said so far too, to `path` as well, with the time of day."""
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in log().handlers:
        if isinstance(handler, MemoryHandler):
            handler.setTarget(file)
            handler.flush()
            log().removeHandler(handler)
    log().addHandler(file)


def close_logging() -> None:
    """Close and remove all handlers."""
    for handler in list(log().handlers):
        log().removeHandler(handler)
        # A full disk cannot take the last lines of the log file; the terminal has them.
        with suppress(OSError):
            handler.close()
