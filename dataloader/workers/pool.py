"""Worker processes: torch's DataLoader plus a shutdown that leaves no process behind."""

import atexit
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from utils.errors import UserError
from utils.interruptible import ENDINGS

# Batches that each process reads ahead.
AHEAD = 2


class CurrentReads:
    """The image that each process is reading, in shared memory, so that it can be read after a crash."""

    def __init__(self, workers: int) -> None:
        # For each process its PID and the index of its image, or -1.
        self._rows = torch.full((workers, 2), -1, dtype=torch.int64).share_memory_()

    def note(self, index: int) -> None:
        """Record the image that is started, or -1; the main process records nothing."""
        info = get_worker_info()
        if info is not None:
            self._rows.numpy()[info.id] = os.getpid(), index

    def last_of(self, process: int | None) -> int | None:
        """Return the image that a process was reading, if any."""
        return next((index for number, index in self._rows.tolist() if number == process and index >= 0), None)


class WorkerPool:
    """torch's loader, its iterator and its processes, which end together: on close, with their owner, or at exit.

    Args:
        dataset: makes the batches, in the processes.
        sampler: yields its keys.
        workers: processes; 0 works in this one.
        pin_memory: put batches into page-locked memory.
        notes: kept by `dataset`.
        name: index -> name of the image, for the message when a process crashes on it.
    """

    def __init__(
        self, dataset: Dataset, sampler: Sampler, *, workers: int, pin_memory: bool, notes: CurrentReads, name: Callable[[int], str]
    ) -> None:
        self.notes, self.name = notes, name
        self.loader: DataLoader | None = _open(dataset, sampler, workers, pin_memory=pin_memory)
        self.walk: Iterator[Any] | None = None
        self.processes: list[BaseProcess] = []

    def start(self) -> None:
        """Start an epoch; the first one starts the processes."""
        assert self.loader is not None, "the loader is closed"
        if self.loader.num_workers == 0 or self.walk is not None:
            self.walk = iter(self.loader)
            return
        # Registered last, so it runs before torch and multiprocessing wait at exit for processes that ignore signals.
        atexit.register(self.dismiss)
        others = multiprocessing.active_children()
        previous = signal.getsignal(signal.SIGCHLD)
        self.walk = iter(self.loader)
        # torch's SIGCHLD handler raises in the middle of whatever the main process does. Without it, a dead worker is
        # noticed when its batch is awaited, where the error can be explained.
        if previous is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, previous)
        self.processes = [process for process in multiprocessing.active_children() if process not in others]

    def take(self) -> Any:
        """Return the next batch.

        Raises:
            UserError: a process died.
        """
        assert self.walk is not None, "the loader was closed during an epoch"
        try:
            return next(self.walk)
        except (RuntimeError, EOFError, OSError) as error:
            lost = self._lost()
            if lost is None:
                raise
            index = self.notes.last_of(lost.pid)
            where = "" if index is None else f" at {self.name(index)}"
            raise UserError(
                f"a loader process died{where} (exit code {lost.exitcode}): usually the machine is out of memory (-9: use fewer "
                "workers, -j 1), /dev/shm is too small (-7: -j 0 needs none), or the file crashes its decoder (-11: see --check)"
            ) from error

    def _lost(self) -> BaseProcess | None:
        """Return a process that has ended by itself, or None."""
        for process in self.processes:
            # The broken connection may be noticed before the process is gone.
            process.join(timeout=0.2)
        return next((process for process in self.processes if process.exitcode is not None), None)

    def dismiss(self) -> None:
        """End the processes; a second call does nothing."""
        atexit.unregister(self.dismiss)
        # torch stops its workers when nothing refers to the iterator; a traceback may, and workers have no state to save.
        self.walk = None
        self.loader = None
        for process in self.processes:
            if process.is_alive():
                process.kill()
        self.processes = []


def _open(dataset: Dataset, sampler: Sampler, workers: int, *, pin_memory: bool) -> DataLoader:
    with warnings.catch_warnings():
        # The user may ask for more workers than there are cores.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            collate_fn=_as_it_is,
            worker_init_fn=_prepare_worker,
            persistent_workers=workers > 0,
            pin_memory=pin_memory,
            # An own generator, since starting an epoch must not change the global one.
            generator=torch.Generator(),
        )


def _prepare_worker(worker: int) -> None:
    """Ignore signals, since the main process stops after saving; and use one thread."""
    del worker
    for number in (signal.SIGINT, *ENDINGS):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)


def _as_it_is(batch: Any) -> Any:
    return batch
