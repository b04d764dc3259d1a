"""Files of segmenters are kept when they say of every pixel what the model says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.export.answers import Answers
from applications.export.mask_reference import ALLOWED, MaskReference
from applications.export.parity import Parity
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


def compared(expected: np.ndarray, told: np.ndarray, facts: Facts = FACTS) -> Parity:
    """Return the parity of images for which the model is right, but for some pixels that are not known."""
    task = Segment(CLASSES, build_pixel_criterion(parse_specs("softmax")), PREPROCESS, torch.device("cpu"))
    truths = expected.argmax(1).astype(np.uint8)
    truths[:, :5] = IGNORE
    count = len(truths)
    split = Split("val", Path(), tuple(map(str, range(count))), np.zeros(count, np.int64), truths=Known(truths))
    return MaskReference(task, split).compare(expected, Answers(facts, told, told, Timing(0.0, 0.0, 0.0, 1, 0.0), 0.0), FACTS, EXACT)


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
    told[2] += np.array([0.002, 0.0, -0.002], np.float32)[:, None, None]
    parity = compared(said, told)
    assert parity.agreeing >= 0.99 * parity.answers
    assert parity.mean < 1e-3
    assert parity.refusal(ALLOWED["half"]) == "in one image a probability differs by 1.3e-03 on average, allowed are 1e-03"


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
