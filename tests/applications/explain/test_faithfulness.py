"""Deletion and insertion tell a map of the right place from one of the wrong place."""

import numpy as np
import pytest
import torch

from applications.explain.faithfulness import STEPS, measure, pixel_ranks


def corner_counts(x: torch.Tensor) -> torch.Tensor:
    """A model that looks at the upper left quarter alone, and wants it rough."""
    rough = x[:, :, :8, :8].std((1, 2, 3)).clamp(0, 1)
    return torch.stack([rough, 1 - rough], 1)


def test_a_map_of_the_place_that_counts_is_more_faithful_than_any_other():
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    good, bad = np.zeros((4, 4, 4)), np.ones((4, 4, 4))
    good[:, :2, :2], bad[:, :2, :2] = 1, 0
    noise = np.random.default_rng(0).random((4, 4, 4))
    zeros = torch.zeros(4, dtype=torch.int64)
    gains = [measure(corner_counts, x, heat, zeros).gain() for heat in (good, noise, bad)]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0.2 > -0.2 > gains[2]


def test_the_curves_run_from_the_image_to_its_blur_and_back():
    seen = []

    def watch(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.full((1, 1), 0.25)

    x = torch.randn(1, 3, 12, 20)
    areas = measure(watch, x, np.random.default_rng(0).random((1, 3, 5)), torch.zeros(1, dtype=torch.int64))
    assert len(seen) == 2 * (STEPS + 1)
    torch.testing.assert_close(seen[0], x)
    torch.testing.assert_close(seen[-1], x)
    torch.testing.assert_close(seen[1], seen[-2])
    assert areas.deletion[0] == areas.insertion[0] == pytest.approx(0.25)


def test_ranks_are_the_share_of_hotter_pixels():
    ranks = pixel_ranks(torch.tensor([[[4.0, 3.0], [1.0, 2.0]]]), (2, 2))
    assert ranks.tolist() == [[[0.0, 0.25], [0.75, 0.5]]]
