"""Golden scores of anomaly detection: what detectors say of a few pieces of cloth, so that no change of the code moves them unseen.

python -m tests.golden.anomaly_recorder          compute them anew: only where the scores are meant to change
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dataloader.images.preprocess import Normalize
from dataloader.sources.weave import KINDS, piece
from models.anomaly.build import build_anomaly_detector
from models.published import IMAGENET_MEAN, IMAGENET_STD
from tests.golden.recorder import rounding

STORED = Path(__file__).parent / "anomaly.json"
DETECTORS = ("padim(dims=30)", "padim(dims=30,projection=learned)", "patchcore(coreset=0.1)")
GOOD, HELD_OUT, SIDE = 16, 4, 64


def cloth(numbers: range, kind: str = "") -> Tensor:
    """Return pieces as normalized images, float32 (N, 3, H, W)."""
    pixels = np.stack([piece(number, side=SIDE, kind=kind).image.transpose(2, 0, 1) for number in numbers])
    return Normalize(IMAGENET_MEAN, IMAGENET_STD)(torch.from_numpy(pixels))


def compute(arch: str) -> dict[str, list[float]]:
    """Return the scores of good pieces and of each kind of defect, and some places of a map."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        detector, good = build_anomaly_detector(arch, "mobilenetv3_small").eval(), cloth(range(GOOD))
        with torch.no_grad():
            for _ in range(detector.passes):
                for batch in good.split(8):
                    detector.observe(batch)
                detector.finish()
            detector.calibrate(detector.raw(cloth(range(GOOD, GOOD + HELD_OUT))).amax((1, 2)))
            found = {kind or "good": detector(cloth(range(40, 42), kind)) for kind in ("", *KINDS)}
    finally:
        torch.set_num_threads(threads)
    scores = {kind: each[0].tolist() for kind, each in found.items()}
    return {**scores, "map": found["hole"][1][0, ::16, ::16].flatten().tolist()}


def stored() -> Mapping[str, Any]:
    """Return what was computed before, and on which CPU."""
    return json.loads(STORED.read_text(encoding="utf-8"))


def record() -> None:
    """Compute all detectors and store what they say."""
    content = {"rounding": rounding(), "detectors": {arch: compute(arch) for arch in DETECTORS}}
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(record())
