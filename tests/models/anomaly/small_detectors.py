"""Small anomaly detectors and images for tests of them."""

import torch
from torch import Tensor

from models.anomaly.anomaly_detector import AnomalyDetector
from models.anomaly.build import build_anomaly_detector


def detector(arch: str, *, encoder: str = "resnet18") -> AnomalyDetector:
    """Return an unfitted detector whose encoder has the same random weights at every call."""
    torch.manual_seed(0)
    return build_anomaly_detector(arch, encoder).eval()


def pictures(count: int, *, seed: int = 0, size: tuple[int, int] = (64, 96)) -> Tensor:
    """Return noise, float32 (count, 3, H, W)."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def fitted(arch: str, images: Tensor, *, batch: int = 4, encoder: str = "resnet18") -> AnomalyDetector:
    """Return a detector that has seen these images as good ones."""
    found = detector(arch, encoder=encoder)
    with torch.no_grad():
        for _ in range(found.passes):
            for part in images.split(batch):
                found.observe(part)
            found.finish()
        found.calibrate(found.raw(images[:4]).amax((1, 2)))
    return found
