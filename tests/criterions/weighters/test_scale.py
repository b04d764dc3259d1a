"""Claims about the scale of weighted losses: the learning rate means the same with and without every weighter."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from criterions import WEIGHTERS
from criterions.elementwise import Elementwise, softmax
from criterions.weighted import Criterion, build_criterion
from criterions.weighters.cost import Cost, Risk
from criterions.weighters.scale import MeanFactor
from criterions.weighters.threshold import Threshold
from criterions.weighters.weighter import Weighter
from tests.criterions.conftest import names
from utils.spec import Spec

# Losses of 1 for every sample whatever the answer, so that the weighted loss is the mean factor.
ONE = {
    "softmax": Elementwise("softmax", lambda _, targets: targets),
    "sigmoid": Elementwise("sigmoid", lambda logits, _: torch.full_like(logits, 1 / logits.shape[1])),
}
CLASSES = (2, 6, 10, 100, 1000)
SAMPLES = 64


def weighters_of(chain: str, classes: int) -> dict[str, Weighter]:
    """Return the weighters of a chain such as 'ohm|ghm', with counts of a long tail and random matrices."""
    rng = np.random.default_rng(1)
    same = np.eye(classes)
    matrices: dict[str, Weighter] = {
        "cost": Cost(rng.uniform(0.5, 20, (classes, classes))),
        "risk": Risk(rng.uniform(0.5, 20, (classes, classes))),
        "threshold": Threshold(0.001 - 0.15 * same, 1.1 - 0.5 * same),
    }
    plain = [Spec(name) for name in chain.split("|") if name not in matrices]
    built = build_criterion([Spec("softmax"), *plain], classes=names(classes), class_counts=tail(classes).tolist())
    found = {name: module for name, module in built.weighters.items() if isinstance(module, Weighter)}
    return {name: found.get(name) or matrices[name] for name in chain.split("|")}


def tail(classes: int) -> Tensor:
    """Return images of every class, 100 : 1 from the commonest to the rarest."""
    return 1000 * 100.0 ** (-torch.arange(classes) / max(1, classes - 1))


def batches(classes: int, steps: int, samples: int = SAMPLES):
    """Yield logits, targets and sample weights, some of them zero, from a network that learns as the steps go on."""
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        labels = torch.multinomial(tail(classes), samples, replacement=True, generator=generator)
        targets = F.one_hot(labels, classes).float()
        sure = torch.rand(samples, 1, generator=generator) * classes**0.3 * step / steps
        weights = (torch.rand(samples, generator=generator) - 0.1).clamp(min=0)
        yield torch.randn(samples, classes, generator=generator) + 5 * sure * targets, targets, weights / weights.mean()


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ONE)
@pytest.mark.parametrize("chain", ["ohm", "ghm", "cost", "risk", "ohm|ghm", "risk|ohm|ghm"])
def test_no_weighter_changes_the_scale_of_the_loss(chain, kind, classes):
    criterion = Criterion(ONE[kind], weighters=weighters_of(chain, classes))
    found = [float(criterion(*batch)) for batch in batches(classes, 30)]
    assert found[0] == pytest.approx(1, rel=1e-4), "from the first step on"
    assert np.mean(found) == pytest.approx(1, rel=0.15 if set(chain.split("|")) & {"cost", "risk"} else 1e-4)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ONE)
@pytest.mark.parametrize("chain", ["class_weights", "class_weights|ohm", "class_weights|ghm", "class_weights|ohm|ghm"])
def test_class_weights_have_mean_one_over_the_training_images(chain, kind, classes):
    criterion = Criterion(ONE[kind], weighters=weighters_of(chain, classes))
    for step in range(5):
        logits = torch.randn(classes, classes, generator=torch.Generator().manual_seed(step)) + step * torch.eye(classes)
        weights = tail(classes) / tail(classes).mean()
        assert float(criterion(logits, torch.eye(classes), weights)) == pytest.approx(1, rel=1e-4)


def test_every_weighter_of_the_table_is_held_to_its_scale():
    assert set(WEIGHTERS) == {"ohm", "ghm", "cost", "risk", "class_weights", "threshold"}


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", ONE)
def test_what_a_threshold_keeps_counts_as_it_did(kind, classes):
    criterion = Criterion(ONE[kind], weighters=weighters_of("threshold", classes))
    for logits, targets, _ in batches(classes, 3):
        kept = criterion.weighters["threshold"](criterion.probabilities(logits), targets, hardness=torch.empty(0))
        share = (kept * targets).sum(1).mean() if kind == "softmax" else kept.mean()
        assert 0 < float(share) <= 1
        assert float(criterion(logits, targets, torch.ones(SAMPLES))) == pytest.approx(float(share), rel=1e-5)


def test_rare_classes_keep_their_weight_in_small_batches():
    """Divided by the mean of its own batch, a batch of one sample would have no weight at all."""
    criterion = Criterion(ONE["softmax"], weighters=weighters_of("class_weights", 10))
    weights = criterion.weighters["class_weights"].weights
    found: dict[int, list[float]] = {}
    for logits, targets, _ in batches(10, 400, samples=1):
        value = float(criterion(logits, targets, torch.ones(1)))
        found.setdefault(int(targets.argmax()), []).append(value)
    ratio = np.mean(found[7]) / np.mean(found[0])
    assert ratio == pytest.approx(float(weights[7] / weights[0]), rel=1e-4)


def test_a_step_that_overflowed_leaves_no_mark():
    criterion = Criterion(softmax(), weighters=weighters_of("class_weights|risk|ohm|ghm", 4))
    logits, targets, weights = next(batches(4, 1))
    criterion(logits, targets, weights)
    criterion(torch.full_like(logits, float("nan")), targets, weights)
    assert torch.isfinite(criterion(logits, targets, weights))


def test_a_mean_that_is_no_number_is_not_taken_in():
    mean = MeanFactor(0.9)
    mean(torch.full((4, 1), 3.0), torch.ones(4, 1))
    before = mean.sums.clone()
    for factors, shares in ((torch.full((4, 1), float("nan")), torch.ones(4, 1)), (torch.ones(4, 1), torch.zeros(4, 1))):
        assert float(mean(factors, shares)) == pytest.approx(3)
        assert torch.equal(mean.sums, before)


def test_nothing_seen_changes_nothing():
    assert float(MeanFactor(0.9).eval()(torch.full((4, 1), 3.0), torch.ones(4, 1))) == 1


def test_the_mean_is_that_of_all_processes(monkeypatch):
    theirs = torch.tensor([20.0, 4.0])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda sums: sums.add_(theirs))
    found = MeanFactor(0.9)(torch.full((4, 1), 3.0), torch.ones(4, 1))
    assert float(found) == pytest.approx((4 * 3 + 20) / (4 + 4))
