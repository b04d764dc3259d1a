"""Processes that decode files for the server; one that dies or takes too long is replaced, as soon as one can be started."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from errno import ETIMEDOUT
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from queue import SimpleQueue

from applications.serving import decoding
from applications.serving.decoding import Decoded, DecodingJob, Refused, work
from utils.errors import UserError
from utils.logs import log

# A new process imports torch, where no prepared one could be copied.
SECONDS_TO_START = 120.0
ROOT = Path(__file__).parent.parent.parent


class _Worker:
    """A process that decodes one file after the other.

    Args:
        job: what is made of a file.

    Raises:
        OSError: it cannot be started, or not in time.
        EOFError: it, or the process that it is copied from, ended at its start.
    """

    def __init__(self, job: DecodingJob) -> None:
        self.job = job
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, job), daemon=True)
        try:
            with theirs:
                self.process.start()
            if not self.connection.poll(SECONDS_TO_START):
                raise TimeoutError(ETIMEDOUT, f"it is not ready after {SECONDS_TO_START:g} s")
            self.connection.recv()
        except (OSError, EOFError):
            self.end()
            raise

    def decode(self, data: bytes) -> Decoded | Refused | None:
        """Return what the process says of a file; None where it did not come back in time."""
        self.connection.send_bytes(data)
        return self.connection.recv() if self.connection.poll(self.job.seconds) else None

    def end(self) -> None:
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        self.process.close()
        self.connection.close()


class DecoderPool:
    """A fixed number of decoding processes.

    The place of one that cannot be started again stays empty until the next file, which tries it again; files are decoded by the others.

    Args:
        job: what is made of a file.
        workers: processes.
        replaced: called when a process was replaced.

    Raises:
        UserError: they cannot be started.
    """

    def __init__(self, job: DecodingJob, workers: int, *, replaced: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self._replaced = replaced
        self._closed = False
        # None is an empty place.
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._places = workers
        self._empty = 0
        try:
            for _ in range(workers):
                self._idle.put(self._start())
        except (OSError, EOFError) as error:
            self._end_idle()
            raise UserError(f"no process can be started that decodes files ({_why(error)}); free memory, or ask for --workers 1") from error
        # A thread for each process, so that none waits for another's file.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")

    def submit(self, data: bytes) -> Future[Decoded | Refused]:
        """Begin to decode a file."""
        return self._threads.submit(self._decode, data)

    def is_empty(self) -> bool:
        """Return whether every place was empty when it was last looked at."""
        return self._empty == self._places

    def close(self) -> None:
        """End all processes, busy ones too."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for worker in self._workers:
                worker.process.kill()
        self._threads.shutdown()
        self._end_idle()

    def _end_idle(self) -> None:
        while not self._idle.empty():
            if worker := self._idle.get():
                worker.end()

    def _start(self) -> _Worker:
        with self._lock:
            # It may have died, of the same lack of memory as a decoder.
            _prepare_template()
        worker = _Worker(self.job)
        with self._lock:
            self._workers.add(worker)
        return worker

    def _decode(self, data: bytes) -> Decoded | Refused:
        worker = self._idle.get()
        try:
            if worker is None or not worker.process.is_alive():
                # It was ended while it had nothing to do, so no file is to blame.
                worker = self._replace(worker)
            if worker is None:
                # The empty place is not given back meanwhile, so that the next turn is another's.
                return Refused("no_decoder", "no file can be decoded now; try again") if self.is_empty() else self._decode(data)
            answer = self._ask(worker, data)
            if isinstance(answer, Refused) and answer.outcome in ("crashed", "slow"):
                worker = self._replace(worker)
            return answer
        finally:
            self._idle.put(worker)

    def _ask(self, worker: _Worker, data: bytes) -> Decoded | Refused:
        try:
            answer = worker.decode(data)
        except (EOFError, OSError):
            return Refused("crashed", "the decoder crashed at it")
        return answer or Refused("slow", f"decoding it takes more than {self.job.seconds:g} s")

    def _replace(self, worker: _Worker | None) -> _Worker | None:
        """Return a new process in the place of one, or in an empty place; None where it cannot be started."""
        if self._closed:
            return worker
        if worker is not None:
            with self._lock:
                self._workers.discard(worker)
            worker.end()
        try:
            started = self._start()
        except (OSError, EOFError) as error:
            if worker is not None:
                self._count_empty(1)
                log().warning(f"a decoding process cannot be started ({_why(error)}); every file tries again, until one is")
            return None
        if worker is None:
            self._count_empty(-1)
        self._replaced()
        return started

    def _count_empty(self, more: int) -> None:
        with self._lock:
            self._empty += more


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it ended at its start"


def _prepare_template() -> None:
    """Start the process that others are copied from, unless it runs, with everything imported: a new one then takes milliseconds."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([decoding.__name__])
    before = os.environ.get("PYTHONPATH")
    # It begins without this process's search path, and would leave out silently what it cannot find.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before])])
    # Started here, since it would let Ctrl-C through again.
    resource_tracker.ensure_running()
    try:
        with _ignored_by_children():
            forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _ignored_by_children() -> Iterator[None]:
    """Let processes that start in the block never hear of Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
