"""Files of segmenters are kept when they say of every pixel what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.export.answers import Answers
from applications.export.mask_reference import ALLOWED, MaskReference
from applications.export.parity import Allowed, Parity
from applications.formats.facts import Facts
from applications.tasks.segment import Segment
from criterions.pixels import build_pixel_criterion
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from dataloader.targets.mask import IGNORE, Mask
from utils.spec import parse_specs
from utils.timing import Timing

CLASSES = ("ground", "disc", "bar")
PREPROCESS = Preprocess(image_size=(24, 32))
FACTS = Facts("unet", "segment", CLASSES, PREPROCESS, "softmax")
EXACT = ALLOWED["fp32"]


@dataclass(frozen=True)
class Known:
    """Masks in memory, of images '0', '1' and so on."""

    masks: Sequence[np.ndarray]
    classes: tuple[str, ...] = CLASSES

    def read(self, path: str) -> Mask:
        return Mask(self.masks[int(path)])

    def nothing(self) -> Mask:
        raise NotImplementedError

    def count(self, paths: Sequence[str]) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def said() -> np.ndarray:
    """Probabilities (4, 3, 24, 32)."""
    return (4 * torch.randn(4, 3, 24, 32, generator=torch.Generator().manual_seed(0))).softmax(1).numpy()


def compared(
    expected: np.ndarray,
    told: np.ndarray,
    facts: Facts = FACTS,
    *,
    wanted: Facts = FACTS,
    batched: np.ndarray | None = None,
    loss: str = "softmax",
    allowed: Allowed = EXACT,
) -> Parity:
    """Return the parity of images for which the model is right, but for some pixels that are not known."""
    task = Segment(wanted.classes, build_pixel_criterion(parse_specs(loss)), PREPROCESS, torch.device("cpu"))
    truths = expected.argmax(1).astype(np.uint8)
    truths[:, :5] = IGNORE
    count = len(truths)
    split = Split("val", Path(), tuple(map(str, range(count))), np.zeros(count, np.int64), truths=Known(truths, wanted.classes))
    answers = Answers(facts, told, told if batched is None else batched, Timing(0.0, 0.0, 0.0, 1, 0.0), 0.0)
    return MaskReference(task, split).compare(expected, answers, wanted, allowed)


def test_equal_answers_agree_in_every_pixel(said: np.ndarray) -> None:
    parity = compared(said, said)
    assert (parity.agreeing, parity.answers, parity.words.answered) == (4 * 24 * 32, 4 * 24 * 32, "pixels")
    assert (parity.largest, parity.model, parity.file) == (0.0, 1.0, 1.0)
    assert [(each.name, each.model, each.file) for each in parity.classes] == [(name, 1.0, 1.0) for name in CLASSES]
    assert not parity.refusal(EXACT)


def test_a_file_with_turned_pixels_is_refused(said: np.ndarray) -> None:
    told = said.copy()
    told[2, :, 10, :8] = np.roll(told[2, :, 10, :8], 1, 0)
    parity = compared(said, told)
    assert parity.worst == 2
    assert parity.file < parity.model
    assert all(each.file < each.model for each in parity.classes)
    assert "a probability differs by up to" in parity.refusal(EXACT)
    assert parity.refusal(replace(EXACT, difference=1.0)) == "8 of 3,072 pixels differ"


def test_in_16_bits_a_probability_at_an_edge_may_move_far(said: np.ndarray) -> None:
    told = said.copy()
    told[2, :, 10, 8] = [0.2, 0.5, 0.3]
    told[2, :, 10, 9] = [0.2, 0.5, 0.3]
    parity = compared(said, told)
    assert parity.largest > 0.3
    assert not parity.refusal(ALLOWED["half"])


def test_in_16_bits_a_little_everywhere_in_one_image_is_refused(said: np.ndarray) -> None:
    told = said.copy()
    told[2] += np.array([0.008, 0.0, -0.008], np.float32)[:, None, None]
    refusal = "in one image the mean over pixels of half the sum over classes is 8.0e-03, allowed are 7e-03"
    parity = compared(said, told)
    assert parity.agreeing >= 0.99 * parity.answers
    assert parity.mean == pytest.approx(0.008 / 4, rel=1e-3)
    assert parity.refusal(ALLOWED["half"]) == refusal
    assert compared(said, said, batched=told).refusal(ALLOWED["half"]) == refusal, "among other images alone"


@pytest.mark.parametrize("count", [2, 100])
def test_the_bound_of_16_bits_means_the_same_with_any_number_of_classes(count: int) -> None:
    classes = tuple(f"class {number}" for number in range(count))
    facts = replace(FACTS, classes=classes)
    said = np.full((2, count, 24, 32), 0.3 / (count - 1), np.float32)
    said[:, 0] = 0.7

    def moved(share: float) -> str:
        """Return the refusal where `share` of the probability goes from the first class to all others."""
        told = said + np.float32(share / (count - 1))
        told[:, 0] = 0.7 - share
        parity = compared(said, told, facts, wanted=facts)
        assert parity.worst_mean == pytest.approx(share, rel=1e-3)
        return parity.refusal(ALLOWED["half"])

    assert not moved(0.006)
    assert "half the sum over classes is 8.0e-03" in moved(0.008)


@pytest.mark.parametrize("count", [2, 100])
def test_of_sigmoids_the_class_that_moved_farthest_counts_however_many_there_are(count: int) -> None:
    classes = tuple(f"class {number}" for number in range(count))
    facts = replace(FACTS, classes=classes, activation="sigmoid")
    said = np.full((2, count, 24, 32), 0.3, np.float32)
    said[:, 0] = 0.7

    def moved(by: float) -> Parity:
        """Return the parity where every class of every pixel moves as far as rounding may move it."""
        parity = compared(said, said + np.float32(by), facts, wanted=facts, loss="bce")
        assert parity.worst_mean == pytest.approx(by, rel=1e-3)
        return parity

    assert not moved(0.006).refusal(ALLOWED["half"]), "the sum over 100 classes would be 0.6"
    assert "mean over pixels of the class that moved farthest is 8.0e-03" in moved(0.008).refusal(ALLOWED["half"])


def test_pixels_between_two_classes_agree_either_way(said: np.ndarray) -> None:
    said[0, :, 12, 12] = [0.5, 0.5, 0.0]
    told = said.copy()
    told[0, :, 12, 12] = [0.49999, 0.50001, 0.0]
    assert compared(said, told).agreeing == 4 * 24 * 32


def test_classes_in_another_order_are_put_in_order(said: np.ndarray) -> None:
    turned = replace(FACTS, classes=("bar", "ground", "disc"))
    parity = compared(said, said[:, [2, 0, 1]], turned)
    assert parity.file == 1.0
    assert not parity.refusal(EXACT)


def test_a_file_that_gives_no_numbers_is_refused(said: np.ndarray) -> None:
    told = said.copy()
    told[1] = float("nan")
    parity = compared(said, told)
    assert parity.worst == 1
    assert parity.refusal(EXACT)


def test_pixels_that_turn_in_batches_alone_are_refused(said: np.ndarray) -> None:
    turned = said[:, [1, 2, 0]]
    parity = compared(said, said, batched=turned)
    assert parity.agreeing < 0.5 * parity.answers
    assert parity.refusal(Allowed(1.0, 0.99)).endswith("pixels differ")
    assert "mIoU falls" in compared(said, said, batched=turned, allowed=ALLOWED["int8"]).refusal(ALLOWED["int8"])
