"""The linear classifier on fixed features, against scikit-learn and against what is known of the data."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from optim.linear_head import (
    ROUGH,
    answered_right,
    choose_strength,
    deal_folds,
    fit_head,
    nearest_neighbors,
    standardized,
    unstandardized,
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
    features, strength = standardized(features)[0], 1e-4
    rough, done = (fit_head(features, targets, strength=strength, activation="softmax", accuracy=accuracy) for accuracy in (ROUGH, 1e-10))
    reached, least = (
        float(cross_entropy(head.logits(features), targets) + strength / 2 * head.weight.square().sum()) for head in (rough, done)
    )
    assert reached < 1.02 * least


def test_the_strength_fits_the_data() -> None:
    folds = deal_folds([index % 3 for index in range(90)])
    noise, targets = clouds(90, 3, width=60, spread=30.0)
    clear, _ = clouds(90, 3, width=60, spread=0.3)
    strong = choose_strength(standardized(noise)[0], targets, folds, activation="softmax")[0]
    weak = choose_strength(standardized(clear)[0], targets, folds, activation="softmax")[0]
    assert strong.strength > weak.strength
    assert weak.accuracy == 1
    assert strong.accuracy < 0.6, "held-out images are not those that were learned"


def test_a_head_of_standardized_features_answers_the_same_for_plain_ones() -> None:
    features, targets = clouds(60, 4)
    features = features * 37 + 5
    features[:, 3] = 2.0
    scaled, mean, deviation = standardized(features)
    head = fit_head(scaled, targets, strength=0.1, activation="softmax")
    assert torch.allclose(unstandardized(head, mean, deviation).logits(features), head.logits(scaled))


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


def test_an_image_of_several_labels_is_right_when_all_are() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    targets = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert answered_right(logits, targets, "sigmoid").tolist() == [True, False]
    assert answered_right(logits, torch.eye(3)[[0, 1]], "softmax").tolist() == [True, False]
