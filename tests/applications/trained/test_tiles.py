"""Tiles cover an image, and their joined logits are those of a network that sees the whole where it needs no more than a tile."""

import itertools

import numpy as np
import pytest
import torch

from applications.trained.tiles import OVERLAP, tile_bands, tile_starts


@pytest.mark.parametrize("length", [1, 15, 16, 17, 28, 29, 100, 1000])
def test_tiles_cover_every_place_and_overlap(length: int) -> None:
    starts = tile_starts(length, 16)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 16)
    assert all(0 < b - a <= 16 * (1 - OVERLAP) + 1 for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("size", [(5, 7), (16, 24), (40, 24), (33, 71)])
def test_a_network_of_single_pixels_answers_as_for_the_whole_image(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    seen = []

    def look(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(pixels.shape))
        return torch.stack([pixels[:, 0].float(), 2 * pixels[:, 1].float()], dim=1)

    bands = list(tile_bands(look, image, (16, 24), batch=3))
    rows = [row for band in bands for row in range(*band.rows.indices(size[0]))]
    assert rows == list(range(size[0])), "every row once, from the top"
    joined = torch.cat([band.logits for band in bands], dim=1).numpy()
    np.testing.assert_allclose(joined, np.stack([image[..., 0], 2.0 * image[..., 1]]), rtol=1e-5)
    assert {shape[1:] for shape in seen} == {(3, 16, 24)}
    assert max(shape[0] for shape in seen) <= 3


def test_the_middle_of_a_tile_counts_more_than_its_border() -> None:
    image = np.zeros((16, 28, 3), np.uint8)
    answers = iter((0.0, 1.0))

    def look(pixels: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.full((1, 16, 16), next(answers)) for _ in pixels])

    (band,) = tile_bands(look, image, (16, 16), batch=1)
    row = band.logits[0, 8]
    assert (row[:12] == 0).all()
    assert (row[16:] == 1).all()
    assert (row[12:16].diff() > 0).all(), "one goes over into the other"
