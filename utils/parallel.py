"""One piece of work for many items, in several processes, with the results in the order of the items."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from utils.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
# Enough that sending an item costs little, few enough that a bar moves.
CHUNK = 16


def spread(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, chunk: int = CHUNK, name: Callable[[Item], str] = str
) -> Iterator[Result]:
    """Yield work(item) of every item, in order.

    Args:
        work: can be pickled; it is sent to every process once.
        items: can be pickled.
        workers: processes; 0 or 1 works in this one.
        chunk: items that travel together.
        name: what an item is called, where a process died at it.

    Raises:
        UserError: a process died, with the items that were worked at; or `work` raised it.
    """
    if workers < 2 or len(items) < 2:
        yield from map(work, items)
        return
    with TemporaryDirectory() as scratch:
        # Through a file: what travels with every item is only its name.
        file = Path(scratch) / "work"
        file.write_bytes(pickle.dumps(work))
        # Fresh processes: a copy of this one would have its locks but not its threads.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_stopping)
        try:
            yield from pool.map(partial(_call, str(file)), range(len(items)), items, chunksize=chunk)
        except BrokenProcessPool as error:
            # A process empties its note after every item; the one that died left it, and so did those that were ended with it.
            under_way = sorted(int(note.read_text()) for note in Path(scratch).glob("at-*") if note.stat().st_size)
            places = " or ".join(name(items[number]) for number in under_way)
            raise UserError(
                f"a worker process died{f' at {places}' if places else ''}: a file that crashes its decoder, or too little memory. "
                "Look at the file with --check, or use fewer workers (-j 1)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_stopping() -> None:
    """Leave Ctrl-C to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _work_in(file: str) -> Callable[[Any], Any]:
    return pickle.loads(Path(file).read_bytes())


def _call(file: str, number: int, item: Any) -> Any:
    note = Path(file).with_name(f"at-{os.getpid()}")
    note.write_text(str(number))
    result = _work_in(file)(item)
    note.write_text("")
    return result
