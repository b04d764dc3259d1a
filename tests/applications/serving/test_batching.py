"""The thread that asks a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from applications.serving.batching import Batcher
from applications.serving.metrics import Metrics
from applications.serving.schema import Answer
from applications.serving.served_model import ModelFacts, ServedModel, Wanted
from dataloader.images.preprocess import Preprocess


class Counting(ServedModel):
    """Says the brightest value of each image, and keeps how many it was asked about at a time; fails about black ones if it is to."""

    def __init__(self, *, fails_on_black: bool = False) -> None:
        self.facts = ModelFacts("counting", "classify", "", ("a", "b"), False, None, Preprocess((4, 6)), None)
        self.fails_on_black = fails_on_black
        self.asked: list[tuple[int, ...]] = []

    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> list[int]:
        del drawn
        self.asked.append((len(pictures), *pictures[0].shape))
        found = [int(picture.max()) for picture in pictures]
        if self.fails_on_black and not min(found):
            raise ValueError("black")
        return found

    def write(self, said: Any, wanted: Wanted) -> Answer:
        del said, wanted
        raise AssertionError("nobody asks for it")


def answer(model: ServedModel, value: int, *, size: int = 4) -> int:
    batcher = Batcher(model, size=size, wait=0.001, metrics=Metrics())
    try:
        return batcher.submit(np.full((4, 6, 3), value, np.uint8), drawn=False).result(timeout=20)
    finally:
        batcher.close()


@pytest.mark.parametrize(("size", "before"), [(4, [1, 2]), (1, [1])])
def test_a_model_has_answered_alone_and_together_before_the_first_request(size: int, before: list[int]) -> None:
    model = Counting()
    assert answer(model, 7, size=size) == 7
    assert model.asked == [(count, 4, 6, 3) for count in [*before, 1]]


def test_a_model_that_fails_on_blank_images_answers_others() -> None:
    assert answer(Counting(fails_on_black=True), 9) == 9
