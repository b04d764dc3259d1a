"""Many files, each examined once by one of several processes, so that a file that crashes its decoder costs no other.

The processes import what is here, and no torch: they start in a fraction of the time that it takes to load.
"""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from PIL import Image

from dataloader.checks.examine import FileFacts, examine
from dataloader.images.read import decode_image
from utils.errors import UserError

CHUNK = 32
# Below this many images use one worker: starting more takes longer. Never zero, since a broken file can crash it.
FEW = 200


def look_at_all(
    files: Sequence[str], *, workers: int, advance: Callable[[int], object] = int, look: Callable[[str], FileFacts] = examine
) -> list[FileFacts]:
    """Return the facts of the files, in their order.

    A file that crashes the process that decodes it is reported as a fact; the others are not lost.

    Args:
        files: what to open.
        workers: processes; 0 works in this one, which a broken file can crash.
        advance: called with the number of files done since the last call.
        look: file -> facts; a module-level function, so that it can be pickled.

    Raises:
        UserError: processes also crash on an image that is known to be good.
    """
    if workers == 0:
        return [_told(look(file), advance) for file in files]
    workers = workers if len(files) >= FEW else 1
    facts: list[FileFacts] = [FileFacts()] * len(files)
    chunks = (range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK))
    lost: list[int] = []
    for chunk, answer in _in_processes(look, files, chunks, workers, ahead=4 * workers):
        if answer is None:
            lost += chunk
            continue
        for number, each in zip(chunk, answer, strict=True):
            facts[number] = _told(each, advance)
    # A process crashed, and its chunks are lost: each file is examined alone to find the one.
    singles = (range(number, number + 1) for number in lost)
    blames = False
    for chunk, answer in _in_processes(look, files, singles, 1, ahead=1):
        blames = blames or (answer is None and _is_sound(files[chunk[0]]))
        facts[chunk[0]] = _told(answer[0] if answer else FileFacts("crash", "the decoder crashed on it"), advance)
    return facts


def _is_sound(file: str) -> bool:
    """Return True if a process can decode a good image, so that `file` is the cause of the crash.

    Raises:
        UserError: it crashes on that one, too.
    """
    ((_, answer),) = _in_processes(_look_at_good_one, [file], iter([range(1)]), 1, ahead=1)
    if answer is None:
        raise UserError(
            f"a process crashed on {file}, and another one on a good image: usually the machine is out of memory. "
            "Free some, or use fewer processes (-j 1)"
        )
    return True


def _look_at_good_one(file: str) -> FileFacts:
    """Decode small images of the common formats instead of a file."""
    for form in ("JPEG", "PNG"):
        encoded = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(encoded, form)
        decode_image(encoded.getvalue(), file)
    return FileFacts()


def _told(facts: FileFacts, advance: Callable[[int], object]) -> FileFacts:
    advance(1)
    return facts


def _in_processes(
    look: Callable[[str], FileFacts], files: Sequence[str], chunks: Iterator[range], workers: int, *, ahead: int
) -> Iterator[tuple[range, list[FileFacts] | None]]:
    """Yield every chunk with its facts, or with None where a process crashed; at most `ahead` are in progress."""
    todo = next(chunks, None)
    while todo is not None:
        # Spawned rather than forked: a process with threads must not be forked, and this one draws a progress bar.
        others = multiprocessing.active_children()
        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare)
        waiting: dict[Future[list[FileFacts]], range] = {}
        try:
            while todo is not None or waiting:
                while todo is not None and len(waiting) < ahead:
                    waiting[executor.submit(_look_at, look, [files[number] for number in todo])] = todo
                    todo = next(chunks, None)
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    yield waiting.pop(future), answer
        except BrokenProcessPool:
            for chunk in waiting.values():
                yield chunk, None
        except BaseException:
            # Stopped by Ctrl-C, perhaps while processes start: the executor could wait for them forever.
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
            raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _look_at(look: Callable[[str], FileFacts], files: list[str]) -> list[FileFacts]:
    return [look(file) for file in files]


def _prepare() -> None:
    """Ignore Ctrl-C, and end when the main process ends, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
