"""PatchCore: the distance of each patch to the nearest of good ones. Roth et al. (arXiv 2106.08265).

The published score of an image is that of its farthest patch, weighed by how crowded the memory is there. Here it is the largest value
of the smoothed map, so that an image is named exactly when some of its pixels are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.anomaly.anomaly_detector import AnomalyDetector
from models.anomaly.coreset import greedy_centers, project
from models.segmenters.encoder import Encoder
from utils.errors import UserError

# Side of the neighborhood over which features are averaged.
NEIGHBORHOOD = 3
# Dimensions in which the coreset is chosen.
PROJECTED = 64
# Patches from which it is chosen: of more, so many at random, which bounds memory and time. They are thinned out as images come,
# whenever they are more by this factor.
MOST_PATCHES = 1_000_000
SPARE = 1.25
# Distances that are computed at once: 256 MB.
MOST_DISTANCES = 2**26


class PatchCore(AnomalyDetector):
    """PatchCore.

    Args:
        encoder: the network.
        coreset: share of the good patches that is kept, by greedy k-center.
        smoothing: standard deviation in pixels.
    """

    strides = (8, 16)
    bank: Tensor
    lengths: Tensor

    def __init__(self, encoder: Encoder, coreset: float = 0.1, smoothing: float = 4.0) -> None:
        super().__init__(encoder, smoothing=smoothing)
        if not isinstance(coreset, int | float) or not 0 < coreset <= 1:
            raise UserError(f"--arch patchcore: coreset {coreset} is a share, above 0, up to 1")
        self.coreset = coreset
        self.register_buffer("bank", torch.zeros(0, sum(self.channels)))
        self.register_buffer("lengths", torch.zeros(0))
        # Of each batch the patches, the numbers of their images, and random keys; patches with the smallest keys are kept.
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        self._limit = 1.0
        self._seen = 0
        self._generator = torch.Generator().manual_seed(0)
        # Of each patch of the memory, the number of the image that it comes from; forgotten with the process.
        self._owners: Tensor | None = None

    @property
    def is_fitted(self) -> bool:
        return len(self.bank) > 0

    def features(self, images: Tensor) -> Tensor:
        """Return the features of all patches, (N, D, h, w), at the resolution of the finest map."""
        found = [F.avg_pool2d(each, NEIGHBORHOOD, stride=1, padding=NEIGHBORHOOD // 2) for each in self.maps(images)]
        size = found[0].shape[-2:]
        larger = [F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in found[1:]]
        return torch.cat([found[0], *larger], 1)

    def observe(self, images: Tensor) -> None:
        rows = patches(self.features(images))
        owners = torch.arange(self._seen, self._seen + len(images)).repeat_interleave(len(rows) // len(images))
        self._seen += len(images)
        self._batches.append(_below(self._limit, rows, owners, torch.rand(len(rows), generator=self._generator, dtype=torch.float64)))
        if sum(len(keys) for _, _, keys in self._batches) > SPARE * MOST_PATCHES:
            self._thin()

    def _thin(self) -> None:
        """Keep MOST_PATCHES patches at random, where there are more."""
        keys = torch.cat([keys for _, _, keys in self._batches])
        if len(keys) > MOST_PATCHES:
            self._limit = float(keys.kthvalue(MOST_PATCHES).values)
            self._batches = [_below(self._limit, *batch) for batch in self._batches]

    def finish(self) -> None:
        if not self._batches:
            raise UserError("PatchCore needs good images to learn from")
        self._thin()
        everything, owners = (torch.cat([batch[part] for batch in self._batches]) for part in (0, 1))
        self._batches, self._limit, self._seen = [], 1.0, 0
        kept = greedy_centers(project(everything, PROJECTED), max(1, round(self.coreset * len(everything))))
        self._owners = owners[kept.to(owners.device)].to(everything.device)
        kept = kept.to(everything.device)
        self._buffers["bank"] = everything[kept].contiguous()
        self._buffers["lengths"] = self.bank.square().sum(1)

    def distances(self, images: Tensor) -> Tensor:
        features = self.features(images)
        rows = patches(features)
        # A file of the traced network has no loop over its rows, whose number would be fixed.
        at_once = torch.jit.is_tracing() or torch.compiler.is_compiling()  # pyright: ignore[reportPrivateImportUsage]
        blocks = [rows] if at_once else rows.split(max(1, MOST_DISTANCES // len(self.bank)))
        nearest = torch.cat([self._squares(block).amin(1) for block in blocks]) if len(blocks) > 1 else self._squares(rows).amin(1)
        return nearest.clamp(min=0).sqrt().view(features.shape[0], features.shape[2], features.shape[3])

    def _squares(self, rows: Tensor) -> Tensor:
        """Return the squared distances of patches (R, D) to the memory, (R, M)."""
        return torch.addmm(self.lengths[None, :], rows, self.bank.T, alpha=-2.0) + rows.square().sum(1, keepdim=True)

    def strangeness(self, images: Tensor, first: int) -> Tensor:
        """Return the largest distance to patches of other images."""
        assert self._owners is not None, "asked after the fit, in the same process"
        features, found = self.features(images), []
        for number, each in enumerate(features, first):
            others = self._squares(patches(each[None])).masked_fill_(self._owners[None] == number, float("inf"))
            found.append(others.amin(1).clamp(min=0).sqrt().max())
        return torch.stack(found)


def _below(limit: float, rows: Tensor, owners: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what belongs to keys up to a limit."""
    kept = keys <= limit
    return (rows, owners, keys) if bool(kept.all()) else (rows[kept.to(rows.device)], owners[kept], keys[kept])


def patches(features: Tensor) -> Tensor:
    """Return features (N, D, h, w), one patch a row, (N * h * w, D)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
