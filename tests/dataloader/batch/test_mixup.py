import numpy as np
import pytest
import torch

from dataloader.batch.mixup import Mixup
from dataloader.batch.targets import to_dense
from dataloader.sample import Batch
from utils.errors import UserError
from utils.randomness import Stream, numpy_rng


def batch(count: int = 8, targets: torch.Tensor | None = None) -> Batch:
    images = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(count) % 3 if targets is None else targets
    return Batch(images, targets, torch.linspace(0.2, 1, count), torch.arange(count))


def test_mixup_is_the_formula_of_the_paper():
    given = batch()
    mixed = Mixup(alpha=0.8, ratio=1.0, num_classes=3, seed=4)(given, step=7, rank=1)
    rng = numpy_rng(Stream.MIX, 4, 7, 1)
    rng.random()
    share, partners = rng.beta(0.8, 0.8), rng.permutation(8)
    for result, values in [
        (mixed.images, given.images.numpy().astype(float)),
        (mixed.targets * mixed.weights[:, None], np.eye(3)[given.targets.numpy()] * given.weights.numpy()[:, None]),
        (mixed.weights, given.weights.numpy()),
    ]:
        np.testing.assert_allclose(result.numpy(), share * values + (1 - share) * values[partners], rtol=1e-4, atol=1e-5)
    assert torch.equal(mixed.indices, given.indices)


def test_ratio_is_the_probability_that_a_batch_is_mixed():
    mixup = Mixup(alpha=1.0, ratio=0.3, num_classes=3, seed=0)
    given = batch()
    mixed = [not torch.equal(mixup(given, step, 0).images, given.images.float()) for step in range(300)]
    assert 60 < sum(mixed) < 120


def test_a_batch_that_is_not_mixed_keeps_its_pixels_and_classes():
    mixed = Mixup(alpha=1.0, ratio=0.0, num_classes=3, seed=0)(batch(), 0, 0)
    assert torch.equal(mixed.images, batch().images.float())
    assert torch.equal(mixed.targets.argmax(1), batch().targets)


def test_probability_targets_are_mixed_too():
    soft = torch.softmax(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), 1)
    mixed = Mixup(alpha=1.0, ratio=1.0, num_classes=3, seed=0)(batch(targets=soft), 0, 0)
    assert torch.allclose(mixed.targets.sum(1), torch.ones(8))
    assert torch.allclose(mixed.targets.sum(0), soft.sum(0) * 1.0, atol=1.0)
    assert not torch.equal(mixed.targets, soft)


@pytest.mark.parametrize("values", [{"alpha": 0.0}, {"ratio": 1.5}, {"ratio": -0.1}])
def test_wrong_values_name_the_flag(values):
    with pytest.raises(UserError, match=f"--mixup_{next(iter(values))}"):
        Mixup(**({"alpha": 1.0, "ratio": 1.0, "num_classes": 3, "seed": 0} | values))


def test_dense_targets_are_one_hot():
    assert to_dense(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert to_dense(torch.tensor([2, 0]), 3).dtype == torch.float32


def test_dense_targets_of_another_width_are_refused():
    with pytest.raises(ValueError, match="2 classes, not 3"):
        to_dense(torch.zeros(4, 2), 3)
