"""Gathers images of several requests for a few milliseconds, so that they go through the model together."""

import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from applications.serving.metrics import Metrics
from applications.serving.served_model import ServedModel


@dataclass(frozen=True, eq=False)
class _Question:
    picture: np.ndarray
    drawn: bool
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """The one thread that asks a model; nobody waits for what only the first answers take.

    Args:
        model: what is asked.
        size: most images that go in together.
        wait: seconds to wait for more after the first.
        metrics: told how many went together, and how long that took.
    """

    def __init__(self, model: ServedModel, *, size: int, wait: float, metrics: Metrics) -> None:
        self.model = model
        self.size = size
        self.wait = wait
        self.metrics = metrics
        self._waiting: SimpleQueue[_Question | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"model {model.facts.name}", daemon=True)
        self._thread.start()

    def submit(self, picture: np.ndarray, *, drawn: bool) -> Future[Any]:
        """Ask about an image as the model takes it, uint8 (h, w, 3); the future gives what its `ask` says."""
        question = _Question(picture, drawn)
        self._waiting.put(question)
        return question.future

    def waiting(self) -> int:
        """Return how many images wait for their turn."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what was asked, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _warm_up(self) -> None:
        """Ask about blank images, alone and together: runtimes choose kernels for the first, and some compile for each way of asking."""
        numbers = self.model.facts.preprocess
        blank = np.zeros((*numbers.image_size, numbers.bands), np.uint8)
        for count in {1, min(2, self.size)}:
            # What goes wrong here goes wrong for the requests, too, and is told there.
            with suppress(Exception):
                self.model.ask([blank] * count, [False] * count)

    def _run(self) -> None:
        self._warm_up()
        while not self._closed:
            questions = self._gather()
            if not questions:
                continue
            started = time.perf_counter()
            try:
                answers = self.model.ask([question.picture for question in questions], [question.drawn for question in questions])
            except Exception as error:
                # The requests fail with it, and the thread serves the next ones.
                for question in questions:
                    _settle(question.future, error)
            else:
                for question, answer in zip(questions, answers, strict=True):
                    _settle(question.future, answer)
            self.metrics.batch(self.model.facts.name, len(questions), time.perf_counter() - started)

    def _gather(self) -> list[_Question]:
        """Wait for an image, then a little for others."""
        found: list[_Question] = []
        end = None
        while len(found) < self.size:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                question = self._waiting.get(timeout=left)
            except Empty:
                break
            if question is None:
                self._closed = True
                break
            found.append(question)
            end = end or time.monotonic() + self.wait
        return found


def _settle(future: Future[Any], result: Any) -> None:
    # Whoever asked may be gone, and have cancelled it.
    with suppress(InvalidStateError):
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
