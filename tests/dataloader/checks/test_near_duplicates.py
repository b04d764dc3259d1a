"""The perceptual hash finds a picture that was saved anew, and not one of like things; the search misses no pair."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from dataloader.checks.near_duplicates import GRID, RADIUS, SAME, candidates, close_hashes, grouped, near_pairs, perceptual_hash, similarity
from tests.dataloader.checks.faulty_images import scene


def grid(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((GRID, GRID), Image.Resampling.BOX))


def encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


VERSIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved at quality 30": lambda image: encoded(image, 30),
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "enlarged": lambda image: image.resize((image.width * 2, image.height * 2), Image.Resampling.LANCZOS),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.15),
    "as gray": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_of_a_picture_is_the_same_picture(version: str) -> None:
    for seed in range(20):
        image = scene(seed, (160, 120))
        first, second = grid(image), grid(VERSIONS[version](image))
        assert (perceptual_hash(first) ^ perceptual_hash(second)).bit_count() <= RADIUS
        assert similarity(first[None], second[None])[0] >= SAME


def test_other_pictures_are_not() -> None:
    grids = np.stack([grid(scene(seed)) for seed in range(300)])
    hashes = np.array([perceptual_hash(each) for each in grids], dtype=np.uint64)
    assert len(near_pairs(hashes, grids)) == 0


def test_two_shots_of_one_layout_are_not_the_same_picture() -> None:
    """The hash sees the same large things; the slopes see that the small ones differ."""
    grids = []
    for seed in range(20):
        grain = np.random.default_rng(seed).normal(0, 15, (GRID, GRID))
        layout = grid(scene(1)).astype(np.float64)
        grids.append(np.clip(layout + grain, 0, 255).astype(np.uint8))
    hashes = [perceptual_hash(each) for each in grids]
    left, right = np.triu_indices(20, 1)
    close = [(one, other) for one, other in zip(left, right, strict=True) if (hashes[one] ^ hashes[other]).bit_count() <= RADIUS]
    assert close, "some pairs are candidates"
    assert max(similarity(grids[one][None], grids[other][None])[0] for one, other in close) < SAME


def near_hashes(count: int, seed: int = 0) -> np.ndarray:
    """Return different hashes, many of which have a neighbor a few bits away."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**63, count, dtype=np.uint64)
    for place in range(1, count, 2):
        bits = rng.choice(64, rng.integers(1, 12), replace=False)
        hashes[place] = hashes[place - 1] ^ np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
    return np.unique(hashes)


def all_close(hashes: np.ndarray) -> set[tuple[int, int]]:
    left, right = np.triu_indices(len(hashes), 1)
    close = np.bitwise_count(hashes[left] ^ hashes[right]) <= RADIUS
    return set(zip(left[close].tolist(), right[close].tolist(), strict=True))


@pytest.mark.parametrize("hashes", [near_hashes(600), np.unique(near_hashes(600) & np.uint64(0xFFFF))], ids=["spread", "crowded"])
def test_the_search_finds_exactly_the_close_pairs(hashes: np.ndarray) -> None:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *close_hashes(hashes)])
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == all_close(hashes)
    assert len(all_close(hashes)) > 100


def test_too_many_candidates_shrink_the_radius() -> None:
    crowd = np.unique(near_hashes(600) & np.uint64(0xFFFF))
    kept = candidates(crowd, most=200)
    assert 0 < len(kept) <= 200
    apart = np.bitwise_count(crowd[kept[:, 0]] ^ crowd[kept[:, 1]])
    assert apart.max() < RADIUS, "the closest ones stay"


def test_many_pictures_of_one_hash_are_joined_without_comparing_all() -> None:
    grids = np.repeat(grid(scene(3))[None], 2000, axis=0)
    pairs = near_pairs(np.full(2000, perceptual_hash(grids[0]), dtype=np.uint64), grids)
    assert len(pairs) == 1999
    assert grouped(pairs) == [tuple(range(2000))]


def test_pairs_are_joined_to_groups() -> None:
    assert grouped(np.array([[4, 7], [1, 2], [2, 9]])) == [(1, 2, 9), (4, 7)]
