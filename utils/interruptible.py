"""SIGTERM and SIGHUP, by which batch systems and closed terminals end a program, taken for Ctrl-C: what cleans up does so here, too."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no terminals that hang up.
ENDINGS = tuple(each for each in signal.Signals if each.name in ("SIGTERM", "SIGHUP"))


def heard() -> tuple[signal.Signals, ...]:
    """Return those of ENDINGS that are not ignored, as nohup lets a program ignore SIGHUP."""
    return tuple(number for number in ENDINGS if signal.getsignal(number) != signal.SIG_IGN)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt as Ctrl-C does; one that is ignored, as nohup does with SIGHUP, stays so."""
    before = {number: signal.getsignal(number) for number in ENDINGS}

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        hear_ctrl_c_alone()
        raise KeyboardInterrupt

    _answer(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def hear_ctrl_c_alone() -> None:
    """Let further signals be without effect until `interruptible` ends, so that they do not break off the cleaning up.

    The shell and the kernel both tell of a closed terminal.
    """
    # Unlike SIG_IGN, a function is not handed on to programs that are started.
    _answer(lambda _number, _frame: None)


def _answer(handler: Callable[[int, FrameType | None], None]) -> None:
    """Let a function answer the signals that are not ignored."""
    for number in heard():
        signal.signal(number, handler)
