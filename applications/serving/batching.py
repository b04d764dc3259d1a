"""Gathers images of several requests for a few milliseconds, so that they go through the model together."""

import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np
import torch

from applications.serving.metrics import Metrics
from applications.serving.served_models import ServedModel
from applications.tasks.labels import LabelAnswer


@dataclass(frozen=True, eq=False)
class ModelAnswer:
    """What a model says of an image; `heat` is the image with its heat map, uint8 (h, w, 3), where it was asked for."""

    answer: LabelAnswer
    heat: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Question:
    picture: np.ndarray
    heat: bool
    future: Future[ModelAnswer] = field(default_factory=Future)


class Batcher:
    """The one thread that asks a model.

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

    def submit(self, picture: np.ndarray, *, heat: bool) -> Future[ModelAnswer]:
        """Ask about an image of the model's own size, uint8 (h, w, 3)."""
        question = _Question(picture, heat and self.model.facts.heat_map is not None)
        self._waiting.put(question)
        return question.future

    def waiting(self) -> int:
        """Return how many images wait for their turn."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what was asked, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            questions = self._gather()
            if not questions:
                continue
            started = time.perf_counter()
            try:
                answers = self._answer(questions)
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

    def _answer(self, questions: list[_Question]) -> list[ModelAnswer]:
        images = torch.from_numpy(np.stack([question.picture for question in questions])).permute(0, 3, 1, 2).contiguous()
        answers = self.model.answers(images)
        looked = [row for row, question in enumerate(questions) if question.heat]
        heat: dict[int, np.ndarray] = {}
        if looked:
            classes = [int(answers[row].probabilities.argmax()) for row in looked]
            heat = dict(zip(looked, self.model.heat(images[looked], classes), strict=True))
        return [ModelAnswer(answer, heat.get(row)) for row, answer in enumerate(answers)]


def _settle(future: Future[ModelAnswer], result: ModelAnswer | Exception) -> None:
    # Whoever asked may be gone, and have cancelled it.
    with suppress(InvalidStateError):
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
