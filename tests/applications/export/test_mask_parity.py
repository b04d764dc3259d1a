"""Files of segmenters are kept when they say of every pixel what the model says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from applications.export.probe import Answers
from applications.export.reference import ALLOWED_MASKS, MaskReference
from applications.formats.facts import Facts
from applications.tasks.segment import Segment
from criterions.pixels import build_pixel_criterion
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from dataloader.targets.mask import IGNORE
from utils.spec import parse_specs
from utils.timing import Timing

CLASSES = ("ground", "disc", "bar")
PREPROCESS = Preprocess(image_size=(24, 32))
FACTS = Facts("unet", "segment", CLASSES, PREPROCESS, "softmax")


@pytest.fixture
def said() -> Tensor:
    """Probabilities (4, 3, 24, 32)."""
    return (4 * torch.randn(4, 3, 24, 32, generator=torch.Generator().manual_seed(0))).softmax(1)


def reference(said: Tensor) -> MaskReference:
    task = Segment(CLASSES, build_pixel_criterion(parse_specs("softmax")), PREPROCESS, torch.device("cpu"))
    truths = said.argmax(1).to(torch.uint8)
    truths[:, :5] = IGNORE
    return MaskReference(task, Split("val", Path(), (), np.zeros(0, np.int64)), said, truths)


def answers(told: Tensor, facts: Facts = FACTS) -> Answers:
    return Answers(facts, told.numpy(), told.numpy(), Timing(0.0, 0.0, 0.0, 1, 0.0), 0.0)


def test_equal_answers_agree_in_every_pixel(said: Tensor) -> None:
    parity = reference(said).compare(answers(said), FACTS)
    assert (parity.agreeing, parity.total, parity.answered) == (4 * 24 * 32, 4 * 24 * 32, "pixels")
    assert (parity.largest, parity.model, parity.file) == (0.0, 1.0, 1.0)
    assert not parity.refusal(ALLOWED_MASKS["fp32"])


def test_a_file_with_turned_pixels_is_refused(said: Tensor) -> None:
    told = said.clone()
    told[2, :, 10, :8] = told[2, :, 10, :8].roll(1, 0)
    parity = reference(said).compare(answers(told), FACTS)
    assert parity.worst == 2
    assert parity.file < parity.model
    assert "probabilities differ by up to" in parity.refusal(ALLOWED_MASKS["fp32"])
    lenient = replace(ALLOWED_MASKS["fp32"], difference=1.0)
    assert parity.refusal(lenient) == "8 of 3,072 pixels differ"


def test_pixels_between_two_classes_agree_either_way(said: Tensor) -> None:
    said[0, :, 12, 12] = torch.tensor([0.5, 0.5, 0.0])
    told = said.clone()
    told[0, :, 12, 12] = torch.tensor([0.49999, 0.50001, 0.0])
    assert reference(said).compare(answers(told), FACTS).agreeing == 4 * 24 * 32


def test_classes_in_another_order_are_put_in_order(said: Tensor) -> None:
    turned = replace(FACTS, classes=("bar", "ground", "disc"))
    assert not reference(said).compare(answers(said[:, [2, 0, 1]], turned), FACTS).refusal(ALLOWED_MASKS["fp32"])


def test_a_file_that_gives_no_numbers_is_refused(said: Tensor) -> None:
    told = said.clone()
    told[1] = float("nan")
    parity = reference(said).compare(answers(told), FACTS)
    assert parity.worst == 1
    assert parity.refusal(ALLOWED_MASKS["fp32"])
