"""Anomaly detection on Kolektor SDD: PaDiM against its published formula, coresets, sizes, and the time of an image.

    python -m benchmarks.anomaly DATA WEIGHTS [--only formula|sizes|coreset|time]

DATA is a folder in the layout of MVTec AD, such as Kolektor SDD; WEIGHTS a file of torchvision's mobilenet_v2.

formula  the same features through PaDiM as published (a full covariance at every place, as anomalib computes it) and in stages: the
         figures of both
sizes    image and pixel AUROC and AUPRO of PaDiM and PatchCore at 256 x 256, stretched, and at the shape of the parts
coreset  seconds of a 10% coreset, and what slack, projection and the share of patches cost in AUROC
time     fit and image, by PyTorch, alternating with the full covariance
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from applications.tasks.defect_meter import auroc
from applications.tasks.defect_pixels import FINE, PixelCounts, count_pixels
from benchmarks.shared import machine_share
from dataloader.images.preprocess import Normalize, fit_change, fit_pixels
from dataloader.opening.open_catalog import open_catalog
from dataloader.targets.defect import Defect
from models.anomaly.anomaly_detector import AnomalyDetector, smoothed
from models.anomaly.build import build_anomaly_detector
from models.anomaly.coreset import greedy_centers, project
from models.anomaly.padim import PaDiM, choose_channels
from models.anomaly.patchcore import PatchCore, patches
from models.published import IMAGENET_MEAN, IMAGENET_STD
from models.weights import load_state
from utils.timing import CpuContention

ENCODER = "torchvision/mobilenet_v2"
BATCH, DIMS, SHRINKAGE = 16, 100, 0.01


class Parts:
    """All images at one size, in memory: good ones to learn from, and test images with their masks."""

    def __init__(self, data: Path, size: tuple[int, int], resize: str) -> None:
        catalog = open_catalog(str(data), target=Defect, val_share=0.0)
        self.size = size

        def pixels(name: str) -> Tensor:
            split = catalog.splits[name]
            fitted = [fit_pixels(split.read(index), *size, resize).transpose(2, 0, 1) for index in range(len(split))]
            return torch.from_numpy(np.stack(fitted))

        self.good, self.tested = pixels("train"), pixels("test")
        test = catalog.splits["test"]
        targets = [test.target(index) for index in range(len(test))]
        self.masks = [each.moved(fit_change(each.image_size(), size, resize)).mask.ids for each in targets if isinstance(each, Defect)]
        self.bad = test.targets == 1


def normalized() -> Normalize:
    return Normalize(IMAGENET_MEAN, IMAGENET_STD)


def fit(arch: str, weights: Path, parts: Parts) -> tuple[AnomalyDetector, float]:
    """Return a fitted detector, and the seconds that it took."""
    found = build_anomaly_detector(arch, ENCODER).eval()
    load_state(found.encoder.backbone, torch.load(weights, weights_only=True), source=str(weights))
    start, normalize = time.perf_counter(), normalized()
    with torch.no_grad():
        for _ in range(found.passes):
            for batch in parts.good.split(BATCH):
                found.observe(normalize(batch))
            found.finish()
    return found, time.perf_counter() - start


def figures(raw: Callable[[Tensor], Tensor], parts: Parts) -> dict[str, float]:
    """Return image AUROC, pixel AUROC and AUPRO of a function from normalized images to maps of distances."""
    normalize = normalized()
    with torch.no_grad():
        maps = torch.cat([raw(normalize(batch)) for batch in parts.tested.split(BATCH)]).numpy()
    scores, total = maps.max((1, 2)), PixelCounts.empty(FINE)
    # Ranks alone matter: brought to [0, 1) by what the largest is.
    for found, mask in zip(maps / (maps.max() * 1.001), parts.masks, strict=True):
        total.add(count_pixels(found, mask, FINE))
    return {"image AUROC": auroc(scores[~parts.bad], scores[parts.bad]), "pixel AUROC": total.auroc(), "AUPRO": total.aupro()}


def shown(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.2%}" for name, value in values.items())


class Published:
    """PaDiM as published: at every place the inverse of a full covariance, on the features of a detector."""

    def __init__(self, detector: PaDiM, parts: Parts) -> None:
        self.detector = detector
        kept = torch.cat([matrix.sum(1) for matrix in choose_channels(detector.channels, DIMS)]).bool()
        self.kept = torch.nonzero(kept)[:, 0]
        normalize = normalized()
        with torch.no_grad():
            rows = torch.cat([self.features(normalize(batch)) for batch in parts.good.split(BATCH)])
        self.mean = rows.mean(0)
        self.inverse = torch.empty(rows.shape[2], len(self.kept), len(self.kept))
        for place in range(rows.shape[2]):
            covariance = torch.cov(rows[:, :, place].T.double()) + SHRINKAGE * torch.eye(len(self.kept), dtype=torch.float64)
            self.inverse[place] = torch.linalg.inv(covariance).float()

    def features(self, images: Tensor) -> Tensor:
        """Return (N, D, P)."""
        maps = self.detector.maps(images)
        whole = torch.cat([F.interpolate(each, size=maps[0].shape[-2:], mode="nearest") for each in maps], 1)
        return whole[:, self.kept].flatten(2)

    def raw(self, images: Tensor) -> Tensor:
        difference = (self.features(images) - self.mean).permute(2, 0, 1)
        squares = ((difference @ self.inverse) * difference).sum(2).T.clamp(min=0)
        stride = self.detector.strides[0]
        grid = squares.sqrt().unflatten(1, (-1, images.shape[3] // stride))[:, None]
        whole = F.interpolate(grid, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return smoothed(whole, self.detector.kernel)[:, 0]


def compare_formula(data: Path, weights: Path) -> None:
    parts = Parts(data, (256, 256), "stretch")
    detector, seconds = fit(f"padim(dims={DIMS})", weights, parts)
    assert isinstance(detector, PaDiM)
    print(f"PaDiM in stages: {shown(figures(detector.raw, parts))}, fitted in {seconds:.1f} s", flush=True)
    start = time.perf_counter()
    published = Published(detector, parts)
    print(f"PaDiM as published: {shown(figures(published.raw, parts))}, fitted in {time.perf_counter() - start:.1f} s", flush=True)


def compare_sizes(data: Path, weights: Path) -> None:
    for size, resize in (((256, 256), "stretch"), ((640, 256), "fit")):
        parts = Parts(data, size, resize)
        for arch in ("padim", "padim(projection=learned)", "patchcore(coreset=0.01)", "patchcore(coreset=0.1)"):
            detector, seconds = fit(arch, weights, parts)
            print(
                f"{size[0]} x {size[1]} {resize:8} {arch:26} {shown(figures(detector.raw, parts))}, fitted in {seconds:.0f} s", flush=True
            )


def compare_coresets(data: Path, weights: Path) -> None:
    parts, normalize = Parts(data, (256, 256), "stretch"), normalized()
    detector, _ = fit("patchcore(coreset=0.0001)", weights, parts)
    assert isinstance(detector, PatchCore)
    with torch.no_grad():
        everything = torch.cat([patches(detector.features(normalize(batch))) for batch in parts.good.split(BATCH)])
    print(f"{len(everything):,} patches of {everything.shape[1]} numbers")
    for share, dims, slack in ((0.01, 128, 0.0), (0.01, 64, 0.1), (0.01, 16, 0.1), (0.1, 64, 0.1), (0.1, 64, 0.3), (0.1, 16, 0.1)):
        start = time.perf_counter()
        kept = greedy_centers(project(everything, dims), round(share * len(everything)), slack=slack)
        seconds = time.perf_counter() - start
        detector._buffers["bank"] = everything[kept].contiguous()
        detector._buffers["lengths"] = detector.bank.square().sum(1)
        print(f"{share:.0%} in {dims} dimensions, slack {slack}: {seconds:.1f} s, {shown(figures(detector.raw, parts))}", flush=True)


def compare_times(data: Path, weights: Path) -> None:
    parts, normalize = Parts(data, (256, 256), "stretch"), normalized()
    detector, _ = fit(f"padim(dims={DIMS})", weights, parts)
    assert isinstance(detector, PaDiM)
    published, times = Published(detector, parts), ([], [], [])
    with torch.inference_mode():
        for number in range(60):
            image = normalize(parts.tested[number % len(parts.tested)][None])
            for seconds, ask in zip(times, (detector.raw, published.raw, detector.maps), strict=True):
                start = time.perf_counter()
                ask(image)
                seconds.append(time.perf_counter() - start)
    ours, theirs, maps = (1e3 * float(np.median(seconds[10:])) for seconds in times)
    print(f"one image: in stages {ours:.1f} ms, with full covariances {theirs:.1f} ms, of which the encoder {maps:.1f} ms")


PARTS = {"formula": compare_formula, "sizes": compare_sizes, "coreset": compare_coresets, "time": compare_times}


def main() -> int:
    """Run the comparisons; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--only", choices=PARTS)
    options = parser.parse_args()
    if not options.data.is_dir() or not options.weights.is_file():
        print(f"skipped: there is no {options.data} or no {options.weights}")
        return 0
    contention = CpuContention()
    for name, compare in PARTS.items():
        if options.only in (None, name):
            compare(options.data, options.weights)
    print(machine_share(contention))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
