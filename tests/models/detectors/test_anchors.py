"""Anchors by k-means: found where they are, better than those of other data, and the same for the same seed."""

import numpy as np
import pytest

from models.detectors.anchors import PUBLISHED, cluster, fit, read_anchors, shape_overlaps
from utils.errors import UserError


def groups(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around nine sizes, and these."""
    generator = np.random.default_rng(seed)
    middles = np.array([(w, h) for w in (10, 40, 160) for h in (12, 50, 200)], dtype=float)
    return (middles.repeat(count, 0) * generator.uniform(0.95, 1.05, (9 * count, 2))), middles


def test_overlaps_are_those_of_boxes_with_a_common_corner() -> None:
    found = shape_overlaps(np.array([[2.0, 4.0]]), np.array([[4.0, 2.0], [2.0, 4.0], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [[4 / 12, 1.0, 1 / 8]])


def test_clusters_are_found_smallest_first_and_for_a_seed_the_same() -> None:
    sizes, middles = groups()
    anchors = cluster(sizes, seed=3)
    np.testing.assert_array_equal(anchors, cluster(sizes, seed=3))
    assert (np.diff(anchors.prod(1)) >= 0).all()
    wanted = middles[np.lexsort((middles[:, 0], middles.prod(1)))]
    assert shape_overlaps(wanted, anchors).max(1).min() > 0.95
    assert fit(sizes, anchors) > 0.93 > fit(sizes, np.array(PUBLISHED, dtype=float))


def test_anchors_are_read_in_any_order_and_too_few_boxes_are_said() -> None:
    text = "373x326 10x13 16x30 33x23 30x61 62x45 59x119 116x90 156x198"
    np.testing.assert_array_equal(read_anchors(text), np.array(PUBLISHED))
    np.testing.assert_array_equal(read_anchors("auto"), np.array(PUBLISHED))
    with pytest.raises(UserError, match="9 anchors need as many boxes of different sizes, and the data has 20"):
        cluster(np.ones((20, 2)))
    with pytest.raises(UserError, match="write auto, or nine"):
        read_anchors("0x5 " + text)
