"""Outlines are compared as the definition says, pixel by pixel."""

import numpy as np

from utils.metrics.boundaries import boundary_pixels, outline, tolerance_of


def slow_outline(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    height, width = ids.shape
    found = np.zeros(ids.shape, bool)
    for y in range(height):
        for x in range(width):
            for other_y, other_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= other_y < height and 0 <= other_x < width and known[y, x] and known[other_y, other_x]:
                    found[y, x] |= ids[y, x] != ids[other_y, other_x]
    return found


def blobs(seed: int, size: tuple[int, int] = (24, 31), classes: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (size[0] // 6 + 1, size[1] // 6 + 1))
    return np.kron(coarse, np.ones((6, 6), int))[: size[0], : size[1]]


def test_the_f1_of_outlines_is_that_of_every_pair_of_pixels() -> None:
    truth, answer = blobs(0), blobs(1)
    known = np.random.default_rng(2).random(truth.shape) > 0.05
    np.testing.assert_array_equal(outline(truth, known), slow_outline(truth, known))
    found = boundary_pixels(truth, answer, known, 3)
    real, said, reach = slow_outline(truth, known), slow_outline(answer, known), tolerance_of((24, 31))
    for number in range(3):
        theirs, ours = np.argwhere(real & (truth == number)), np.argwhere(said & (answer == number))
        distances = np.sqrt(((theirs[:, None] - ours[None]) ** 2).sum(-1))
        assert (found.real[number], found.said[number]) == (len(theirs), len(ours))
        assert found.near_said[number] == (distances.min(1) <= reach).sum()
        assert found.near_real[number] == (distances.min(0) <= reach).sum()
        precision, recall = (distances.min(0) <= reach).mean(), (distances.min(1) <= reach).mean()
        np.testing.assert_allclose(found.f1()[number], 2 * precision * recall / (precision + recall))


def test_a_class_without_an_outline_has_no_f1_and_a_missed_one_has_0() -> None:
    truth, answer = np.zeros((8, 8), int), np.zeros((8, 8), int)
    truth[2:5, 2:5] = 1
    f1 = boundary_pixels(truth, answer, np.ones((8, 8), bool), 3).f1()
    assert f1[:2].tolist() == [0, 0]
    assert np.isnan(f1[2])
    assert boundary_pixels(truth, truth, np.ones((8, 8), bool), 3).f1()[:2].tolist() == [1, 1]
