"""A model that is served, whatever it answers with."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from applications.serving.schema import Answer
from dataloader.images.preprocess import Preprocess


@dataclass(frozen=True)
class ModelFacts:
    """What a page needs to know of a model.

    Attributes:
        name: how people call it, unlike the others'.
        task: what it answers with.
        description: in a line.
        classes: names, in the order of the probabilities.
        several: whether an image may have several labels.
        reject: the probability below which an answer of each class does not count; None where every answer counts.
        preprocess: what is done to images.
        heat_map: what it can draw over an image, such as the method of its heat maps; None where it draws nothing.
        whole: whether it is asked about images as they are, rather than brought to its own size.
        threshold: the score from which on an image is defective, or a box is answered; None where there is none.
    """

    name: str
    task: str
    description: str
    classes: tuple[str, ...]
    several: bool
    reject: tuple[float, ...] | None
    preprocess: Preprocess
    heat_map: str | None
    whole: bool = False
    threshold: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What a request wants of an answer.

    Attributes:
        top: how many classes are listed.
        drawn: whether the answer is to be drawn over the image, where the model can.
        mask: whether the mask is to be sent, where the model answers with one.
    """

    top: int = 5
    drawn: bool = False
    mask: bool = True


class ServedModel(ABC):
    """A model that is asked by one thread at a time."""

    facts: ModelFacts

    @abstractmethod
    def ask(self, pictures: Sequence[np.ndarray], drawn: Sequence[bool]) -> Sequence[Any]:
        """Return what the model says of each image.

        Args:
            pictures: uint8 (h, w, 3), of the model's own size; as they are where it takes whole images.
            drawn: whether each answer is to be drawn over its image.
        """

    @abstractmethod
    def write(self, said: Any, wanted: Wanted) -> Answer:
        """Return what `ask` gave for an image as the API writes it; several threads may call this at once."""
