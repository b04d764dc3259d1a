"""Processes that decode files for the server; one that dies or takes too long is replaced."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from queue import SimpleQueue

from applications.serving import decoding
from applications.serving.decoding import Decoded, DecodingJob, Refused, work

# A new process imports torch, where no prepared one could be copied.
SECONDS_TO_START = 120.0
ROOT = Path(__file__).parent.parent.parent


class _Worker:
    """A process that decodes one file after the other.

    Args:
        job: what is made of a file.
    """

    def __init__(self, job: DecodingJob) -> None:
        self.job = job
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()
        if not self.connection.poll(SECONDS_TO_START):
            raise RuntimeError("a decoding process did not start")
        self.connection.recv()

    def decode(self, data: bytes) -> Decoded | Refused | None:
        """Return what the process says of a file; None where it did not come back in time."""
        self.connection.send_bytes(data)
        return self.connection.recv() if self.connection.poll(self.job.seconds) else None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()


class DecoderPool:
    """A fixed number of decoding processes.

    Args:
        job: what is made of a file.
        workers: processes.
        replaced: called when a process was replaced.
    """

    def __init__(self, job: DecodingJob, workers: int, *, replaced: Callable[[], None] = lambda: None) -> None:
        self.job = job
        self._replaced = replaced
        self._closed = False
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        _prepare_template()
        for _ in range(workers):
            self._idle.put(self._start())
        # A thread for each process, so that none waits for another's file.
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")

    def submit(self, data: bytes) -> Future[Decoded | Refused]:
        """Begin to decode a file."""
        return self._threads.submit(self._decode, data)

    def close(self) -> None:
        """End all processes, busy ones too."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for worker in self._workers:
                worker.process.kill()
        self._threads.shutdown()
        while not self._idle.empty():
            self._idle.get().end()

    def _start(self) -> _Worker:
        worker = _Worker(self.job)
        with self._lock:
            self._workers.add(worker)
        return worker

    def _decode(self, data: bytes) -> Decoded | Refused:
        worker = self._idle.get()
        try:
            if not worker.process.is_alive():
                # It was ended while it had nothing to do, so no file is to blame.
                worker = self._replace(worker)
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

    def _replace(self, worker: _Worker) -> _Worker:
        if self._closed:
            return worker
        self._replaced()
        with self._lock:
            self._workers.discard(worker)
        worker.end()
        return self._start()


def _prepare_template() -> None:
    """Start the process that others are copied from, with everything imported: a new one then takes milliseconds."""
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
