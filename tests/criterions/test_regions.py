"""Losses of regions: values by their formulas, and beside segmentation_models.pytorch and kornia where they are installed."""

import numpy as np
import pytest
import torch
from torch import Tensor

from criterions import REGION_LOSSES
from criterions.pixels import IGNORE, build_pixel_criterion
from utils.errors import UserError
from utils.spec import parse_specs

ONE = torch.ones(2)


def loss(chain: str, logits: Tensor, truth: Tensor) -> Tensor:
    return build_pixel_criterion(parse_specs(chain))(logits, truth, ONE)


@pytest.fixture
def answered() -> tuple[Tensor, Tensor]:
    """Logits (2, 4, 20, 24) and the truth, whose classes all occur and of which a part is ignored."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (2, 20, 24), generator=generator)
    truth[0, :5] = IGNORE
    return torch.randn(2, 4, 20, 24, generator=generator), truth


@pytest.mark.parametrize("name", REGION_LOSSES)
def test_a_perfect_answer_costs_nothing_and_a_better_one_less(name: str) -> None:
    truth = torch.zeros(2, 24, 24, dtype=torch.int64)
    truth[:, 6:16, 8:20] = 1
    sure = 40.0 * torch.nn.functional.one_hot(truth, 3).movedim(-1, 1).float()
    assert loss(name, sure, truth).abs() < 1e-4
    assert loss(name, sure / 40, truth) < loss(name, sure / 80, truth)
    assert loss(name, sure.flip(3), truth) > loss(name, sure, truth)


def test_dice_jaccard_and_tversky_are_their_formulas(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    known = truth != IGNORE
    p = logits.softmax(1).movedim(1, -1)[known].double().numpy()
    t = np.eye(4)[truth[known].numpy()]
    hits, said, real = (p * t).sum(0), p.sum(0), t.sum(0)
    wanted = {
        "dice": 1 - 2 * hits / (said + real),
        "jaccard": 1 - hits / (said + real - hits),
        "tversky(0.2, 0.9)": 1 - hits / (hits + 0.2 * (said - hits) + 0.9 * (real - hits)),
    }
    for chain, values in wanted.items():
        assert float(loss(chain, logits, truth)) == pytest.approx(values.mean(), rel=1e-5), chain


def test_classes_that_do_not_occur_are_left_out(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    few = truth.where(truth != 3, 0)
    p = logits.softmax(1).movedim(1, -1)[few != IGNORE].double().numpy()
    t = np.eye(4)[few[few != IGNORE].numpy()]
    wanted = (1 - 2 * (p * t).sum(0) / (p.sum(0) + t.sum(0)))[:3].mean()
    assert float(loss("dice", logits, few)) == pytest.approx(wanted, rel=1e-5)


def test_lovasz_of_hard_answers_is_one_minus_iou() -> None:
    """At the corners of the cube the extension is the set function itself."""
    generator = torch.Generator().manual_seed(1)
    truth, found = (torch.randint(0, 3, (2, 16, 16), generator=generator) for _ in range(2))
    hard = 200.0 * torch.nn.functional.one_hot(found, 3).movedim(-1, 1).float()
    ious = [float(((truth == c) & (found == c)).sum() / ((truth == c) | (found == c)).sum()) for c in range(3)]
    assert float(loss("lovasz", hard, truth)) == pytest.approx(1 - np.mean(ious), abs=1e-5)


def test_an_outline_within_reach_is_right_and_one_farther_off_is_not() -> None:
    def square(shift: int) -> Tensor:
        mask = torch.zeros(2, 40, 40, dtype=torch.int64)
        mask[:, 10 + shift : 25 + shift, 10:25] = 1
        return mask

    def cost(shift: int) -> float:
        return float(loss("boundary", 60.0 * torch.nn.functional.one_hot(square(shift), 2).movedim(-1, 1).float(), square(0)))

    assert cost(0) == pytest.approx(0, abs=1e-5)
    assert cost(1) == pytest.approx(0, abs=1e-5)
    assert 0 < cost(4) < cost(8)


@pytest.mark.parametrize(
    ("chain", "name", "arguments"),
    [
        ("dice", "DiceLoss", {}),
        ("jaccard", "JaccardLoss", {}),
        ("tversky(0.3, 0.7)", "TverskyLoss", {"alpha": 0.3, "beta": 0.7}),
        ("lovasz", "LovaszLoss", {}),
    ],
)
def test_values_are_those_of_smp(chain: str, name: str, arguments: dict, answered: tuple[Tensor, Tensor]) -> None:
    losses = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, truth = answered
    if name == "JaccardLoss":
        # Theirs cannot ignore.
        logits, truth = logits[1:].repeat(2, 1, 1, 1), truth[1:].repeat(2, 1, 1)
        theirs = losses.JaccardLoss("multiclass")
    else:
        theirs = getattr(losses, name)("multiclass", ignore_index=IGNORE, **arguments)
    torch.testing.assert_close(loss(chain, logits, truth), theirs(logits, truth), rtol=1e-5, atol=1e-6)


def test_focal_of_pixels_is_that_of_kornia(answered: tuple[Tensor, Tensor]) -> None:
    kornia = pytest.importorskip("kornia.losses")
    # Theirs cannot ignore: the second image has no such pixel.
    logits, truth = (each[1:].repeat(2, *[1] * (each.ndim - 1)) for each in answered)
    theirs = kornia.focal_loss(logits, truth, alpha=None, gamma=2.0, reduction="none").sum(1).mean()
    torch.testing.assert_close(loss("focal(2)", logits, truth), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("dice(weight=2)", r"write dice\(smooth=0.0, factor=1.0\)"),
        ("dice(factor=0)", "the factor 0 must be a number above 0"),
        ("tversky(alpha=-1)", "alpha -1 must be a number of at least 0"),
        ("boundary(width=4)", "width 4 must be an odd number"),
    ],
)
def test_wrong_arguments_are_said_in_one_line(chain: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build_pixel_criterion(parse_specs(chain))


def test_smoothing_needs_a_loss_of_pixels() -> None:
    with pytest.raises(UserError, match=r"--label_smoothing is for the loss of single pixels"):
        build_pixel_criterion(parse_specs("dice"), label_smoothing=0.1)
