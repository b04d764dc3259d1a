"""The loss of a class for every pixel."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from criterions.pixels import IGNORE, PixelCriterion, build_pixel_criterion
from utils.spec import parse_specs

CLASSES = ("sky", "road", "car", "sign")
COUNTS = (40.0, 30.0, 20.0, 2.0)
ONE = torch.ones(2)

CHAINS = (
    *("softmax", "bce", "focal(2)", "softmax|ohm(0.5)", "softmax|ghm", "bce|ghm(30)|ohm(0.7)", "softmax|class_weights(auto)"),
    *(
        "dice",
        "jaccard",
        "tversky(0.3, 0.7)",
        "lovasz",
        "boundary",
        "softmax|dice",
        "bce|dice|lovasz(factor=0.5)",
        "softmax|ohm(0.5)|boundary",
    ),
)


def build(chain: str, **given: float) -> PixelCriterion:
    return build_pixel_criterion(parse_specs(chain), classes=CLASSES, class_counts=COUNTS, **given)


@pytest.fixture
def answered() -> tuple[Tensor, Tensor]:
    """Logits (2, 4, 12, 16), and the truth, of which a part is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, len(CLASSES), 12, 16, generator=generator)
    truth = torch.randint(0, len(CLASSES), (2, 12, 16), generator=generator)
    truth[0, :5], truth[1, :, 3:7] = IGNORE, IGNORE
    return logits, truth


def test_softmax_is_the_cross_entropy_of_torch(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    wanted = F.cross_entropy(logits, truth, ignore_index=IGNORE)
    torch.testing.assert_close(build("softmax")(logits, truth, ONE), wanted)
    smoothed = F.cross_entropy(logits, truth, ignore_index=IGNORE, label_smoothing=0.1)
    torch.testing.assert_close(build("softmax", label_smoothing=0.1)(logits, truth, ONE), smoothed)


@pytest.mark.parametrize("chain", ["softmax", "softmax|class_weights(auto)", "softmax|class_weights(sqrt)|dice"])
def test_the_cross_entropy_agrees_with_the_general_way(chain: str, answered: tuple[Tensor, Tensor]) -> None:
    """The rows of the general way, and the short way of the cross entropy, weighted or not, are one loss."""
    logits, truth = answered
    long, short = build(chain), build(chain)
    long._plain_softmax = False
    assert short._plain_softmax
    weights = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(long(logits, truth, weights), short(logits, truth, weights))


@pytest.mark.parametrize("chain", CHAINS)
def test_what_an_ignored_pixel_answers_plays_no_part(chain: str, answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    ignored = (truth == IGNORE)[:, None]
    others = torch.where(ignored, 30 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)), logits)
    first, second = (build(chain).train()(each, truth, ONE) for each in (logits, others))
    torch.testing.assert_close(first, second)
    logits = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(build(chain).train()(logits, truth, ONE), logits)
    assert not gradient[ignored.expand_as(gradient)].any()
    assert gradient.any()


@pytest.mark.parametrize("chain", CHAINS)
def test_a_batch_that_is_all_ignored_costs_nothing(chain: str, answered: tuple[Tensor, Tensor]) -> None:
    logits = answered[0].requires_grad_()
    criterion = build(chain).train()
    loss = criterion(logits, torch.full((2, 12, 16), IGNORE), ONE)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert not gradient.any()
    assert criterion(logits, answered[1], ONE).isfinite(), "and leaves no mark"


def test_half_precision_is_computed_in_single(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    logits = logits.bfloat16()
    assert build("softmax|dice")(logits, truth, ONE).dtype == torch.float32
    torch.testing.assert_close(build("softmax|dice")(logits, truth, ONE), build("softmax|dice")(logits.float(), truth, ONE))


def test_an_image_without_weight_plays_no_part_but_counts(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    known = (truth != IGNORE).flatten(1).sum(1)
    alone = build("softmax")(logits[:1], truth[:1], torch.ones(1))
    torch.testing.assert_close(build("softmax")(logits, truth, torch.tensor([1.0, 0.0])), alone * known[0] / known.sum())


@pytest.mark.parametrize("chain", ["softmax", "bce"])
def test_plain_is_the_cross_entropy_of_each_pixel(chain: str, answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    plain = build(f"{chain}|ohm(0.5)|dice").plain(logits, truth)
    assert plain.shape == truth.shape
    assert not plain[truth == IGNORE].any()
    torch.testing.assert_close(plain.sum() / (truth != IGNORE).sum(), build(chain)(logits, truth, ONE))


def test_ohm_learns_from_the_hardest_pixels_that_count(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    losses = F.cross_entropy(logits, truth, ignore_index=IGNORE, reduction="none")[truth != IGNORE]
    hardest = losses.sort(descending=True).values[: -(-len(losses) // 4)]
    torch.testing.assert_close(build("softmax|ohm(0.25)").train()(logits, truth, ONE), hardest.mean())


def test_class_weights_are_those_of_pixels(answered: tuple[Tensor, Tensor]) -> None:
    logits, truth = answered
    weights = torch.tensor([1 / count for count in COUNTS])
    weights /= (weights * torch.tensor(COUNTS)).sum() / sum(COUNTS)
    terms = F.cross_entropy(logits, truth, weight=weights, ignore_index=IGNORE, reduction="none")
    torch.testing.assert_close(build("softmax|class_weights(auto)")(logits, truth, ONE), terms.sum() / (truth != IGNORE).sum())
