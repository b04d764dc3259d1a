"""One piece of work for many items, in several processes, with the results in the order of the items."""

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from utils.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Enough that sending an item costs little, few enough that a bar moves.
CHUNK = 16
# Chunks under way for every process.
AHEAD = 4


def parallel_map(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, chunk: int = CHUNK, name: Callable[[Item], str] = str
) -> Iterator[Result]:
    """Yield work(item) of every item, in order.

    Args:
        work: can be pickled; it is sent to every process once.
        items: can be pickled.
        workers: processes; 0 works in this one, which an item may end.
        chunk: items that travel together.
        name: what an item is called, where a process died at it.

    Raises:
        UserError: a process died, with the items that were worked at; or `work` raised it.
    """
    if workers < 1 or not items:
        yield from map(work, items)
        return
    # Even with one worker use a child process, so that a crash can be reported.
    workers = min(workers, len(items))
    with TemporaryDirectory() as scratch:
        # Through a file: what travels with every item is only its name.
        file = Path(scratch) / "work"
        file.write_bytes(pickle.dumps(work))
        # Start the resource tracker before Ctrl-C is blocked: starting it would unblock SIGINT.
        resource_tracker.ensure_running()
        # Fresh processes: a copy of this one would have its locks but not its threads.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        others = multiprocessing.active_children()
        # Not pool.map, which cancels what waits when a process dies: the pool fails over that, and never ends the others.
        waiting: deque[Future[list[Result]]] = deque()
        done = False
        try:
            for start in range(0, len(items), chunk):
                with _held_back():
                    waiting.append(pool.submit(_call, str(file), start, items[start : start + chunk]))
                if len(waiting) == AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
            done = True
        except BrokenProcessPool as error:
            # BrokenProcessPool is raised before the other workers are stopped; wait for them, since they still update their notes.
            pool.shutdown()
            places = " or ".join(name(items[number]) for number in _under_way(Path(scratch)))
            raise UserError(
                f"a worker process died{f' at {places}' if places else ''}: a file that crashes its decoder, or too little memory. "
                "Look at the file with --check, or use fewer workers (-j 1)"
            ) from error
        finally:
            with _held_back():
                if not done:
                    # What they are at is of no use any more, and a pool waits for it.
                    for process in multiprocessing.active_children():
                        if process not in others:
                            process.kill()
                pool.shutdown()


@contextmanager
def _held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block; processes that start in it never hear of it, and leave it to this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _under_way(scratch: Path) -> list[int]:
    """Return the items that processes left in their notes: the one that died, and those that were ended with it."""
    notes = [note.read_text() for note in scratch.glob("at-*")]
    return sorted(int(note) for note in notes if note)


@cache
def _work_in(file: str) -> Callable[[Any], Any]:
    return pickle.loads(Path(file).read_bytes())


def _call(file: str, start: int, items: Sequence[Any]) -> list[Any]:
    note = Path(file).with_name(f"at-{os.getpid()}")
    results = []
    try:
        for number, item in enumerate(items, start):
            note.write_text(str(number))
            results.append(_work_in(file)(item))
    finally:
        # What is finished ends no process any more.
        note.write_text("")
    return results
