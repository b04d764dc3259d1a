"""Temperature and calibration error against their formulas."""

import numpy as np
import pytest

from utils.metrics.calibration import bin_of, chance_error, cross_fitted, fit_temperature, mean_log_loss, measure_reliability


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def draw(temperature: float, count: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are `temperature` times too large for the labels that are drawn from them, and the targets."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (count, classes))
    labels = [rng.choice(classes, p=row) for row in softmax(true)]
    return (true * temperature).astype(np.float32), np.eye(classes)[labels]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(temperature: float) -> None:
    logits, targets = draw(temperature)
    assert fit_temperature(logits, targets, "softmax") == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_no_other_temperature_on_a_grid_has_a_smaller_loss(activation: str) -> None:
    logits, targets = draw(2.0, count=400)
    if activation == "sigmoid":
        targets = (np.random.default_rng(2).random(logits.shape) < 1 / (1 + np.exp(-logits / 2))).astype(float)
    even = 1 / 5 if activation == "softmax" else 0.5
    softened = (400 * targets + even) / 401
    grid = np.exp(np.linspace(np.log(0.5), np.log(10), 4000))

    def loss(temperature: float) -> float:
        z = logits.astype(np.float64) / temperature
        if activation == "softmax":
            return float(-(softened * np.log(softmax(z))).sum(1).mean())
        p = 1 / (1 + np.exp(-z))
        return float(-(softened * np.log(p) + (1 - softened) * np.log(1 - p)).sum(1).mean())

    best = grid[np.argmin([loss(temperature) for temperature in grid])]
    assert fit_temperature(logits, targets, activation) == pytest.approx(best, rel=2e-3)
    assert mean_log_loss(logits.astype(np.float64), softened, activation) == pytest.approx(loss(1.0))


def test_answers_that_are_all_right_do_not_become_certain() -> None:
    targets = np.eye(3)[np.arange(60) % 3]
    temperature = fit_temperature(np.float32(targets * 4), targets, "softmax")
    assert 0.9 < softmax(targets * 4 / temperature).max() < 0.999


def test_without_images_or_with_a_model_that_diverged_the_temperature_is_one() -> None:
    assert fit_temperature(np.empty((0, 3)), np.empty((0, 3)), "softmax") == 1.0
    assert fit_temperature(np.full((4, 3), np.nan), np.eye(4)[:, :3], "softmax") == 1.0


def test_the_calibration_error_is_that_of_a_few_lines() -> None:
    rng = np.random.default_rng(1)
    confidence, hits = rng.random(500), rng.random(500) < 0.7
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - hits[inside].mean())
    assert measure_reliability(confidence, hits).error == pytest.approx(expected)
    assert bin_of(np.array([0.0, 1.0])).tolist() == [0, 14]
    assert bin_of(np.array([0.25, 0.5, 0.51]), 4).tolist() == [0, 1, 2], "a bin holds its upper edge"


def test_an_image_has_no_say_in_its_own_temperature() -> None:
    logits, targets = draw(2.0, count=50)
    changed = targets.copy()
    changed[7] = np.roll(changed[7], 1)
    before, after = (cross_fitted(logits, given, "softmax") for given in (targets, changed))
    same = np.arange(50) % 5 == 7 % 5
    assert (before[same] == after[same]).all()
    assert (before[~same] != after[~same]).any()


def test_well_calibrated_answers_rarely_err_more_than_chance() -> None:
    over = wrong = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.4, 1, 150)
        chance, draw = chance_error(confidence, seed=seed), rng.random(150)
        over += measure_reliability(confidence, draw < confidence).error > chance
        wrong += measure_reliability(confidence, draw < confidence - 0.25).error > chance
    assert over < 12
    assert wrong > 95
