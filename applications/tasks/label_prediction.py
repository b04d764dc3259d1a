"""What a model says of the labels of many images: a row of logits for each, held once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from criterions.elementwise import ACTIVATIONS, ActivationName

# Cells of a table that are computed at a time.
CHUNK = 4_000_000
WRITTEN_AT_ONCE = 100_000


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs of a model for N images, on the CPU, one row per image. What follows from the logits is computed on first use.

    Attributes:
        indices: (N,) positions in the split, rising.
        targets: int64 (N,) class indices, or bool (N, C), true for every label of the image.
        losses: (N,) plain loss of each image at temperature 1, without any weighting.
        logits: (N, C) float32, as the network gave them.
        activation: 'softmax' or 'sigmoid', as trained.
        temperature: divides the logits before they become probabilities.
    """

    indices: Tensor
    targets: Tensor
    losses: Tensor
    logits: Tensor
    activation: ActivationName
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.indices)

    def at_temperature(self, temperature: float) -> "Prediction":
        """Return the prediction with the probabilities of logits / temperature; the tensors are shared."""
        return self if temperature == self.temperature else replace(self, temperature=temperature)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities (N, C) of logits / temperature: as large as the logits, and cached, so drop the prediction after use.

        nan becomes 0: a model that diverged counts as one with no confidence in any class.
        """
        found = torch.empty_like(self.logits)
        for rows in row_chunks(found):
            found[rows] = ACTIVATIONS[self.activation].probabilities(self.logits[rows] / self.temperature).nan_to_num(0.0)
        return found

    @cached_property
    def found(self) -> Tensor:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(1)

    @cached_property
    def confidence(self) -> Tensor:
        """The probability of the most probable class, (N,)."""
        return self.probabilities.amax(1)


def row_chunks(values: Tensor | np.ndarray) -> Iterator[slice]:
    """Yield slices of rows that together are all of a table (N, C), each of about CHUNK cells; one that is empty for an empty table."""
    step = max(1, CHUNK // max(1, values.shape[1]))
    yield from (slice(start, start + step) for start in range(0, max(1, len(values)), step))


def prediction_rows(
    prediction: Prediction, paths: Sequence[str], classes: Sequence[str], said: Iterable[tuple[str, str]]
) -> Iterator[list[str]]:
    """Yield the rows of predictions.csv, a few in memory at a time: a header, then path, truth, answer and probabilities of an image.

    Args:
        prediction: of N images.
        paths: of the split that its indices are positions in.
        classes: names.
        said: truth and answer of every image, as text.
    """
    yield ["path", "true", "predicted", *classes]
    words, step = iter(said), max(1, WRITTEN_AT_ONCE // max(1, len(classes)))
    for start in range(0, len(prediction), step):
        rows = slice(start, start + step)
        for index, values in zip(prediction.indices[rows].tolist(), prediction.probabilities[rows].tolist(), strict=True):
            yield [paths[int(index)], *next(words), *(f"{value:.9g}" for value in values)]
