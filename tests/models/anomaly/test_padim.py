"""PaDiM in stages is the published formula; what it has found is in its tensors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.anomaly.anomaly_detector import AnomalyDetector
from models.anomaly.padim import choose_channels
from tests.models.anomaly.small_detectors import detector, fitted, pictures
from utils.errors import UserError

DIMS = 40


@pytest.fixture(scope="module")
def images() -> Tensor:
    return pictures(12)


@pytest.fixture(scope="module")
def padim(images: Tensor) -> AnomalyDetector:
    return fitted(f"padim(dims={DIMS})", images)


def joined(found: AnomalyDetector, images: Tensor) -> np.ndarray:
    """Return the features as published: coarser maps repeated, some channels kept at random, float64 (N, D, h, w)."""
    with torch.no_grad():
        maps = found.maps(images)
    whole = torch.cat([F.interpolate(each, size=maps[0].shape[-2:], mode="nearest") for each in maps], 1)
    kept = torch.cat([matrix.sum(1) for matrix in choose_channels(found.channels, DIMS)]).bool()
    return whole[:, kept].double().numpy()


def test_distances_are_those_of_the_published_formula(padim: AnomalyDetector, images: Tensor) -> None:
    good, other = joined(padim, images), joined(padim, pictures(2, seed=1))
    with torch.no_grad():
        found = padim.distances(pictures(2, seed=1)).numpy()
    _, _, height, width = good.shape
    expected = np.zeros_like(found)
    for row in range(height):
        for column in range(width):
            here = good[:, :, row, column]
            inverse = np.linalg.inv(np.cov(here, rowvar=False) + 0.01 * np.eye(DIMS))
            for number in range(2):
                difference = other[number, :, row, column] - here.mean(0)
                expected[number, row, column] = np.sqrt(difference @ inverse @ difference)
    assert np.abs(found / expected - 1).max() < 1e-4


def test_no_covariance_of_all_places_is_kept(padim: AnomalyDetector) -> None:
    places = padim.get_buffer("whitening_0").shape[0]
    kept = sum(padim.get_buffer(f"whitening_{stage}").numel() for stage in range(3))
    assert kept < 0.4 * places * DIMS**2


def test_the_batches_make_no_difference(padim: AnomalyDetector, images: Tensor) -> None:
    other = fitted(f"padim(dims={DIMS})", images, batch=5)
    with torch.no_grad():
        assert torch.allclose(padim.raw(images[:2]), other.raw(images[:2]), rtol=1e-3)


def test_learned_directions_are_orthonormal_and_of_the_largest_variances(images: Tensor) -> None:
    found = fitted(f"padim(dims={DIMS},projection=learned)", images)
    with torch.no_grad():
        rows = found.maps(images)[1].movedim(1, -1).flatten(0, -2).double()
    directions = found.get_buffer("projection_1").double()
    assert torch.allclose(directions.T @ directions, torch.eye(directions.shape[1], dtype=torch.float64), atol=1e-5)
    largest = torch.linalg.eigvalsh(rows.T.cov(correction=0)).flip(0)[: directions.shape[1]]
    assert torch.allclose((rows @ directions).var(0, correction=0), largest, rtol=1e-3)


def test_a_file_with_the_whole_encoder_is_read(padim: AnomalyDetector, images: Tensor) -> None:
    whole = {**padim.state_dict(), "encoder.backbone.behind.weight": torch.ones(2)}
    other = fitted(f"padim(dims={DIMS})", pictures(12, seed=3))
    other.load_state_dict(whole)
    assert torch.equal(other(images)[0], padim(images)[0])
    with pytest.raises(RuntimeError, match="Missing"):
        other.load_state_dict({name: value for name, value in whole.items() if "encoder" not in name})


@pytest.mark.parametrize("arch", [f"padim(dims={DIMS})", "patchcore(coreset=0.1)"])
def test_a_state_dict_rebuilds_the_scores_to_the_bit(arch: str, images: Tensor) -> None:
    first, second = fitted(arch, images), detector(arch)
    assert not second.is_fitted
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for ours, theirs in zip(first(images[:2]), second(images[:2]), strict=True):
            assert torch.equal(ours, theirs)


def test_too_few_images_and_other_sizes_are_one_line() -> None:
    found = detector("padim(dims=10)")
    with torch.no_grad():
        found.observe(pictures(1))
        with pytest.raises(UserError, match="at least two good images"):
            found.finish()
        with pytest.raises(UserError, match="one size"):
            found.observe(pictures(1, size=(96, 96)))


@pytest.mark.parametrize(
    ("arch", "message"), [("padim(dims=0)", "dims is 1"), ("padim(dimms=3)", "dimms"), ("patchcore(coreset=2)", "share")]
)
def test_wrong_arguments_are_one_line(arch: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        detector(arch)
    assert "\n" not in str(raised.value)
