"""The geometry of exported graphs gives the pixels of `fit_images`, bit for bit."""

import numpy as np
import pytest
import torch

from applications.formats.resize import Axis, GraphResize, exact_quotients, kernel
from dataloader.images.preprocess import RESIZES, fit_images


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("resize", RESIZES)
def test_every_pixel_is_that_of_the_integer_kernel(resize: str) -> None:
    rng = np.random.default_rng(0)
    for size in [(224, 224), (24, 16), (160, 224), (3, 5), (299, 299)]:
        graph = GraphResize(*size, resize)
        for _ in range(6):
            h, w = (int(2**power) for power in rng.uniform(0, 10.5, 2))
            images = noise(2, 3, h, w)
            assert torch.equal(graph(images), fit_images(images, *size, resize).float()), (h, w, size)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 700), (64, 48), (63, 49), (1500, 2000)])
def test_odd_shapes_are_no_exception(resize: str, size: tuple[int, int]) -> None:
    images = noise(1, 3, *size)
    assert torch.equal(GraphResize(64, 48, resize)(images), fit_images(images, 64, 48, resize).float())


def test_a_window_holds_every_weight_of_the_kernel() -> None:
    for length in (7, 48, 333, 4000):
        axis = Axis(length, length, 48, 48)
        weights = kernel(axis, axis.window())
        total = (256 * weights.high + weights.low).double().sum(2)
        # Each of the rounded weights is half a unit off at most.
        assert float((total - weights.scale).abs().max()) <= axis.window() / 2


def test_quotients_are_corrected_where_the_guess_is_one_off() -> None:
    rng = np.random.default_rng(0)
    totals = rng.integers(1, 2**22, 2000)
    heights = np.minimum(rng.integers(0, 2**16, 2000), totals)
    scale = 2**15
    right = (2 * heights * scale + totals) // (2 * totals)
    for off in (-1, 0, 1):
        guess = torch.from_numpy(right + off).float()
        found = exact_quotients(torch.from_numpy(heights).float(), torch.from_numpy(totals).float(), torch.tensor(float(scale)), guess)
        assert np.array_equal(found.numpy().astype(np.int64), right)
