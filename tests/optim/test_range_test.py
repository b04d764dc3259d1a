"""Claims about the learning-rate range test."""

import math

import pytest

from optim.range_test import exponential_rates, has_diverged, smoothed, suggest_rate
from utils.errors import UserError


def test_rates_climb_by_one_factor():
    assert exponential_rates(1e-4, 1.0, 5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])


def test_the_average_knows_nothing_of_its_start_at_zero():
    assert smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smoothed([1.0, 3.0], keep=0.5) == pytest.approx([1.0, 7 / 3])


def test_the_rate_of_the_steepest_fall_is_suggested():
    # A smooth step down around 0.01, then a rise from 1 on.
    rates = exponential_rates(1e-6, 10.0, 200)
    losses = [1 - 0.8 / (1 + math.exp(-4 * math.log(rate / 0.01))) + max(0.0, rate - 1) for rate in rates]
    assert 0.005 < suggest_rate(rates, losses) < 0.05


def test_a_loss_that_falls_nowhere_suggests_nothing():
    rates = exponential_rates(1e-6, 10.0, 50)
    assert suggest_rate(rates, [1.0 + rate for rate in rates]) is None
    assert suggest_rate(rates, [1.0, float("nan")]) is None


def test_the_test_ends_when_the_loss_explodes():
    assert has_diverged([1.0, 0.5, float("inf")])
    assert not has_diverged([1.0, 0.5, 1.0])
    assert has_diverged([1.0, 1.0, 200.0])


@pytest.mark.parametrize("ends", [(1.0, 0.1), (0.0, 1.0), (1e-3, float("inf"))])
def test_an_empty_range_names_the_flag(ends):
    with pytest.raises(UserError, match="--lr_range"):
        exponential_rates(*ends, 10)


def test_the_first_steps_which_are_still_settling_suggest_nothing():
    rates = exponential_rates(1e-6, 1.0, 100)
    # One bad batch at the start looks like a steep fall; the true one comes late.
    losses = [4.0, *([3.0] * 41), *(3.0 - 0.04 * step for step in range(58))]
    assert suggest_rate(rates, losses) > rates[50]
