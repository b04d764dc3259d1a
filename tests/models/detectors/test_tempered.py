"""Scores at a temperature: the sigmoid of their divided log odds, in an order that stays."""

import pytest
import torch

from models.detectors.tempered import tempered


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_scores_are_those_of_divided_log_odds(temperature: float) -> None:
    scores = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    torch.testing.assert_close(tempered(scores, temperature), (scores.logit() / temperature).sigmoid())


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20.0])
def test_nothing_and_everything_stay_and_so_does_the_order(temperature: float) -> None:
    scores = torch.cat([torch.zeros(1), torch.logspace(-6, 0, 400).clamp(max=1), torch.ones(1)])
    found = tempered(scores, temperature)
    assert found[0] == 0
    assert found[-1] == 1
    assert bool((found.diff() >= 0).all())


def test_two_temperatures_are_their_product() -> None:
    scores = torch.rand(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tempered(tempered(scores, 0.6), 1.5), tempered(scores, 0.9))
