"""The linear classifier on fixed features, against scikit-learn and against what is known of the data."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import cross_entropy

from optim import linear_head
from optim.linear_head import (
    LEAST_DEVIATION,
    ROUGH,
    Scale,
    answered_right,
    choose_strength,
    deal_folds,
    fit_head,
    names_one_class,
    nearest_neighbors,
)


def clouds(images: int, classes: int, *, width: int = 12, spread: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return features (N, D) around a center for every class, and one-hot targets (N, C)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    centers = torch.randn(classes, width, generator=generator, dtype=torch.float64)
    features = centers[labels] + spread * torch.randn(images, width, generator=generator, dtype=torch.float64)
    return features, torch.eye(classes, dtype=torch.float64)[labels]


@pytest.mark.parametrize(("classes", "strength"), [(2, 0.1), (6, 0.01), (6, 1.0), (40, 0.03)])
def test_the_head_is_that_of_scikit_learn(classes: int, strength: float) -> None:
    features, targets = clouds(240, classes)
    head = fit_head(features, targets, strength=strength, activation="softmax")
    theirs = LogisticRegression(C=1 / (strength * len(features)), tol=1e-9, max_iter=5000).fit(features.numpy(), targets.argmax(1).numpy())
    probabilities = theirs.predict_proba(features.numpy())
    assert torch.softmax(head.logits(features), 1).numpy() == pytest.approx(probabilities, abs=2e-3 if classes > 2 else 0.2)
    if classes > 2:
        assert (head.weight - head.weight.mean(0)).numpy() == pytest.approx(theirs.coef_ - theirs.coef_.mean(0), abs=2e-3)


def test_one_versus_all_heads_are_those_of_scikit_learn() -> None:
    features, targets = clouds(200, 3)
    targets = torch.maximum(targets, targets.roll(1, 0) * (torch.arange(200) % 2)[:, None])
    head = fit_head(features, targets, strength=0.05, activation="sigmoid")
    for column in range(3):
        theirs = LogisticRegression(C=1 / (0.05 * 200), tol=1e-9, max_iter=5000).fit(features.numpy(), targets[:, column].numpy())
        assert head.weight[column].numpy() == pytest.approx(theirs.coef_[0], abs=2e-3)
        assert float(head.bias[column]) == pytest.approx(theirs.intercept_[0], abs=2e-3)


@pytest.mark.parametrize("classes", [2, 10, 400])
def test_heads_that_are_compared_are_about_done_at_any_number_of_classes(classes: int) -> None:
    features, targets = clouds(1200, classes, width=64, spread=3.0)
    features, strength = standardized(features), 1e-4
    rough, done = (fit_head(features, targets, strength=strength, activation="softmax", accuracy=accuracy) for accuracy in (ROUGH, 1e-10))
    reached, least = (
        float(cross_entropy(head.logits(features), targets) + strength / 2 * head.weight.square().sum()) for head in (rough, done)
    )
    assert reached < 1.02 * least


def standardized(features: Tensor) -> Tensor:
    return Scale.of(features).apply_(features.clone())


def test_the_strength_fits_the_data() -> None:
    folds = deal_folds([index % 3 for index in range(90)])
    noise, targets = clouds(90, 3, width=60, spread=30.0)
    clear, _ = clouds(90, 3, width=60, spread=0.3)
    strong = choose_strength(noise, targets, folds, activation="softmax")[0]
    weak = choose_strength(clear, targets, folds, activation="softmax")[0]
    assert strong.strength > weak.strength
    assert weak.accuracy == 1
    assert strong.accuracy < 0.6, "held-out images are not those that were learned"


def test_a_head_of_standardized_features_answers_the_same_for_plain_ones() -> None:
    features, targets = clouds(60, 4)
    features = features * 37 + 5
    features[:, 3] = 2.0
    scale = Scale.of(features)
    scaled = scale.apply_(features.clone())
    assert scaled.mean(0) == pytest.approx(torch.zeros(12), abs=1e-9)
    assert scaled.std(0, correction=0) == pytest.approx(torch.tensor([1.0] * 3 + [0.0] + [1.0] * 8), abs=1e-9)
    head = fit_head(scaled, targets, strength=0.1, activation="softmax")
    assert torch.allclose(scale.undo(head).logits(features), head.logits(scaled))


def test_images_held_out_have_no_part_in_what_they_are_scaled_by(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = clouds(60, 3)
    # A part of its own on another scale shows whether it was looked at.
    features[::5] *= 4
    folds = torch.arange(60) % 5
    monkeypatch.setattr(linear_head, "STRENGTHS", (0.1,))
    (found,) = choose_strength(features, targets, folds, activation="softmax")
    labels, total = targets.argmax(1).numpy(), 0.0
    for part in range(5):
        learned, held_out = (folds != part).numpy(), (folds == part).numpy()
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.1 * learned.sum()), tol=1e-8, max_iter=5000))
        theirs.fit(features.numpy()[learned], labels[learned])
        total += log_loss(labels[held_out], theirs.predict_proba(features.numpy()[held_out]), normalize=False)
    assert found.loss == pytest.approx(total / 60, rel=1e-3)


def test_a_feature_that_is_nearly_always_silent_decides_no_image() -> None:
    features, targets = clouds(200, 4)
    # It speaks in one image of those that are learned, and a thousand times as loud in one that is asked.
    features[:, 5] = 0
    features[7, 5] = 1e-5
    scale = Scale.of(features)
    head = scale.undo(fit_head(scale.apply_(features.clone()), targets, strength=1e-5, activation="softmax"))
    asked = features[:1].clone()
    asked[:, 5] = 1e-2
    assert float((head.logits(asked) - head.logits(features[:1])).abs().max()) < 0.1
    assert float(head.weight[:, 5].abs().max()) < float(head.weight.abs().max())


def test_each_kind_of_features_has_a_scale_of_its_own() -> None:
    features, _ = clouds(200, 4)
    features[:, 8:] *= 1e-3
    own = Scale.of(features, [8, 4])
    torch.testing.assert_close(own.deviation, features.std(0, correction=0))
    together = Scale.of(features)
    least = LEAST_DEVIATION * float(features.std(0, correction=0).median())
    torch.testing.assert_close(together.deviation[8:], torch.full((4,), least, dtype=torch.float64))
    assert bool((Scale.of(torch.ones(5, 3)).deviation == 1).all()), "what never varies divides by 1"


def test_neighbors_answer_as_a_loop_over_all_images_does() -> None:
    features, targets = clouds(80, 4)
    known, asked = features[:60], features[60:]
    found = nearest_neighbors(known, targets[:60], asked, count=5)
    for row, shares in zip(asked.numpy(), found.numpy(), strict=True):
        cosines = known.numpy() @ row / np.linalg.norm(known.numpy(), axis=1) / np.linalg.norm(row)
        near = np.argsort(-cosines)[:5]
        weights = np.maximum(cosines[near], 1e-6)
        assert shares == pytest.approx((weights[:, None] * targets[:60].numpy()[near]).sum(0) / weights.sum(), abs=1e-4)
    assert nearest_neighbors(known[:2], targets[:2], asked, count=20).shape == (20, 4)


def test_folds_hold_all_classes_and_never_part_a_group() -> None:
    labels = [0] * 50 + [1] * 10 + [2] * 5
    folds = deal_folds(labels)
    for label in range(3):
        counts = np.bincount(folds[torch.tensor(labels) == label].numpy(), minlength=5)
        assert counts.max() - counts.min() <= 1
    groups = [f"object {index // 4}" for index in range(64)] + [""]
    folds = deal_folds(labels, groups)
    assert all(len(set(folds[start : start + 4].tolist())) == 1 for start in range(0, 64, 4))


@pytest.mark.parametrize("groups", [2, 3, 5, 10])
def test_there_are_as_many_parts_as_groups_and_the_largest_is_dealt_first(groups: int) -> None:
    for seed in range(200):
        drawn = np.random.default_rng(seed)
        names = np.repeat([f"object {number}" for number in range(groups)], drawn.integers(1, 40, groups))
        folds = deal_folds(drawn.integers(0, 3, len(names)).tolist(), names.tolist(), seed=seed).numpy()
        assert len(set(folds)) == min(5, groups)
    names = ["a"] * 40 + ["b"] * 10 + ["c"] * 40 + ["d"] * 10
    for seed in range(20):
        parts = deal_folds([0, 1] * 50, names, folds=2, seed=seed)
        assert np.bincount(parts.numpy()).tolist() == [50, 50]


def test_groups_of_one_class_are_spread_over_the_parts() -> None:
    labels = np.repeat(np.arange(6), 50)
    groups = [f"object {index // 10}" for index in range(300)]
    folds = deal_folds(labels.tolist(), groups, seed=3).numpy()
    assert all(len(set(folds[labels == label])) == 5 for label in range(6))
    assert np.bincount(folds).tolist() == [60] * 5
    # Of the second class's two groups both would fit beside one another.
    labels = [0] * 20 + [1] * 12 + [1] * 12 + [0] * 10
    parts = deal_folds(labels, ["a"] * 20 + ["b"] * 12 + ["c"] * 12 + ["d"] * 10, folds=2)
    assert parts[20] != parts[32]


def test_an_image_of_several_labels_is_right_when_all_are() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    targets = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert not names_one_class(targets, "sigmoid")
    assert names_one_class(targets, "softmax")
    assert answered_right(logits, targets, one_each=False).tolist() == [True, False]
    assert names_one_class(torch.eye(3), "sigmoid")
    assert answered_right(logits, torch.eye(3)[[0, 1]], one_each=True).tolist() == [True, False]
    # Two images that have one label each do not say that all have.
    assert answered_right(logits, torch.eye(3)[[0, 0]], one_each=False).tolist() == [False, True]
