"""PatchCore measures to the nearest good patch; its coreset is greedy k-center; scores keep the order of distances."""

import numpy as np
import pytest
import torch
from torch import Tensor

from models.anomaly import patchcore
from models.anomaly.anomaly_detector import AnomalyDetector, gaussian_kernel, smoothed
from models.anomaly.coreset import greedy_centers, project
from models.anomaly.patchcore import PatchCore, patches
from tests.models.anomaly.small_detectors import detector, fitted, pictures


@pytest.fixture(scope="module")
def points() -> Tensor:
    return torch.randn(4000, 12, generator=torch.Generator().manual_seed(3)) + 5


def plain(points: Tensor, first: int, count: int) -> tuple[list[int], float]:
    """Return the centers of the plain algorithm, and its radius."""
    distances, chosen = (points - points[first]).square().sum(1), [first]
    for _ in range(count - 1):
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, (points - points[chosen[-1]]).square().sum(1))
    return chosen, float(distances.max().sqrt())


def radius(points: Tensor, centers: Tensor) -> float:
    return float(torch.cdist(points, points[centers]).amin(1).max())


def test_without_slack_the_centers_are_those_of_the_plain_algorithm(points: Tensor) -> None:
    found = greedy_centers(points, 300, slack=0)
    assert found.tolist() == plain(points, int(found[0]), 300)[0]


def test_slack_costs_little_of_the_radius(points: Tensor) -> None:
    found = greedy_centers(points, 300)
    assert len(set(found.tolist())) == 300
    assert radius(points, found) <= plain(points, int(found[0]), 300)[1] / 0.9
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:300]
    assert radius(points, found) < 0.9 * radius(points, drawn), "better than drawn at random"


def test_all_points_can_be_asked_for_and_equal_ones_do_no_harm(points: Tensor) -> None:
    assert sorted(greedy_centers(points[:50], 80).tolist()) == list(range(50))
    assert len(greedy_centers(torch.ones(30, 4), 7)) == 7


def test_projected_distances_are_near_the_true_ones() -> None:
    far = torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    ratio = torch.pdist(project(far, 64)) / torch.pdist(far)
    assert abs(float(ratio.mean()) - 1) < 0.02
    assert project(far, 300) is far


def test_distances_are_to_the_nearest_patch_of_the_memory() -> None:
    found, image = fitted("patchcore(coreset=0.2)", pictures(4)), pictures(1, seed=9)
    assert isinstance(found, PatchCore)
    with torch.no_grad():
        rows, told = patches(found.features(image)), found.distances(image).flatten()
    expected = np.linalg.norm(rows.numpy()[:, None].astype(np.float64) - found.bank.numpy()[None], axis=2).min(1)
    assert np.abs(told.numpy() - expected).max() < 1e-3 * expected.max()


def test_distances_are_computed_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    found, images, sizes = fitted("patchcore(coreset=0.2)", pictures(4)), pictures(3, seed=9), []
    assert isinstance(found, PatchCore)
    with torch.no_grad():
        expected = found.distances(images)
        squares = found._squares
        monkeypatch.setattr(found, "_squares", lambda rows: sizes.append(len(rows)) or squares(rows))
        monkeypatch.setattr(patchcore, "MOST_DISTANCES", 100 * len(found.bank), raising=False)
        assert torch.allclose(found.distances(images), expected, rtol=1e-4)
    assert (max(sizes), sum(sizes)) == (100, 3 * 96)


def test_many_patches_are_thinned_at_random_as_images_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patchcore, "MOST_PATCHES", 96)
    found = PatchCore(detector("patchcore").encoder, coreset=1.0)
    with torch.no_grad():
        everything = torch.cat([patches(found.features(part)) for part in pictures(8).split(2)])
        for part in pictures(8).split(2):
            found.observe(part)
            assert sum(len(batch[0]) for batch in found._batches) <= 120
        found.finish()
    assert len(found.bank) == 96
    distances, places = torch.cdist(found.bank, everything).min(1)
    assert float(distances.max()) < 1e-2
    assert found._owners is not None
    assert torch.equal(found._owners, places // 96)
    assert len(set((places % 12).tolist())) == 12, "every column of the grid of 8 x 12"


def test_scores_keep_the_order_and_put_the_reference_at_one_half() -> None:
    found = fitted("patchcore(coreset=0.2)", pictures(4))
    found.calibrate(torch.tensor([1.0, 2.0, 4.0]))
    scores = found.scaled(torch.tensor([0.0, 1.0, 2.0, 4.0, 40.0, 41.0]))
    assert scores.diff().min() > 0
    assert scores[3] == pytest.approx(0.5)
    assert scores[2] == pytest.approx(0.1, abs=1e-6)
    assert scores[0] == 0
    assert scores[-1] < 1


def test_scores_far_above_the_reference_are_numbers() -> None:
    found = PatchCore(detector("patchcore").encoder)
    found.calibrate(torch.zeros(3))
    assert found.scaled(torch.tensor([0.0, 5.0])).tolist() == [0, 1]


def test_the_score_of_an_image_is_the_largest_of_its_map() -> None:
    found = fitted("padim(dims=20)", pictures(4))
    with torch.no_grad():
        scores, maps = found(pictures(3, seed=2))
    assert maps.shape == (3, 64, 96)
    assert torch.equal(scores, maps.amax((1, 2)))


def test_smoothing_is_a_gaussian_with_mirrored_borders() -> None:
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(0).random((50, 40)).astype(np.float32)
    found = smoothed(torch.from_numpy(image)[None, None], gaussian_kernel(2.0))[0, 0].numpy()
    assert np.abs(found - gaussian_filter(image, 2.0, mode="mirror", truncate=4)).max() < 1e-5


def test_the_encoder_never_learns() -> None:
    found: AnomalyDetector = fitted("padim(dims=20)", pictures(4)).train()
    assert not any(module.training for module in found.encoder.modules())
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_an_encoder_of_torchvision_gives_its_maps() -> None:
    found = fitted("patchcore(coreset=0.5)", pictures(2), encoder="torchvision/mobilenet_v2")
    assert found.channels == [32, 96]
    with torch.no_grad():
        assert bool(found(pictures(1))[0].isfinite().all())
