"""PaDiM: a Gaussian of the features of good images at every place. Defard et al. (arXiv 2011.08785).

The published method joins the maps of three stages, the coarser ones repeated (nearest neighbor) to the size of the finest, keeps some
of the channels at random, and takes at every place the Mahalanobis distance to the mean. A covariance of 100 x 100 at each of 64 x 64
places is 164 MB to read for every image.

Here the same distance costs a fifth of that. Places that share a coarse feature share its mean and covariance, too. With the coarse
features first, the Cholesky factor of the whole covariance is made of stages: z_s = C^-1 (x_s - E[x_s | coarser ones]), where C C^T is the
covariance of x_s given the coarser ones, and the squared distance is the sum of all z^2. So each stage is computed once for each place
of its own map, and only the finest for all places.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.anomaly.anomaly_detector import AnomalyDetector
from models.segmenters.encoder import Encoder
from utils.errors import UserError

# Places whose factors are computed together.
CHUNK = 512
SEED = 0


@dataclass
class Moments:
    """Sums over good images at P places: A features of a stage, and B of the coarser ones.

    Attributes:
        own: A.
        shift: (P, A + B), near the mean, so that float32 loses nothing by large means.
        total: of features less the shift, (P, A + B).
        products: of features of the stage with all, (P, A, A + B).
        count: images.
    """

    own: int
    shift: Tensor
    total: Tensor
    products: Tensor
    count: int = 0

    @staticmethod
    def around(features: Tensor, own: int) -> "Moments":
        """Return empty sums for features (P, A + B, N)."""
        places, width, _ = features.shape
        return Moments(own, features.mean(2), features.new_zeros(places, width), features.new_zeros(places, own, width))

    def add(self, features: Tensor) -> None:
        """Add features (P, A + B, N).

        Raises:
            UserError: they are of another number of places.
        """
        if features.shape[0] != self.shift.shape[0]:
            raise UserError("PaDiM compares place by place, so all images need one size")
        centered = features - self.shift[:, :, None]
        self.total += centered.sum(2)
        self.products.baddbmm_(centered[:, : self.own], centered.transpose(1, 2))
        self.count += features.shape[2]

    def mean(self) -> Tensor:
        return self.shift + self.total / self.count

    def covariance(self, places: slice) -> Tensor:
        """Return the unbiased covariance of the stage with all features at some places, float64 (p, A, A + B)."""
        total = self.total[places].double()
        products = self.products[places].double() - total[:, : self.own, None] * total[:, None, :] / self.count
        return products / (self.count - 1)


@dataclass
class Scatter:
    """Sums over all places of good images: of the channels of a map, (C,), and of their products, (C, C), in float64."""

    total: Tensor
    products: Tensor
    count: int = 0

    def add(self, features: Tensor) -> None:
        """Add a map (N, C, h, w)."""
        rows = features.movedim(1, -1).flatten(0, -2).double()
        self.total += rows.sum(0)
        self.products += rows.T @ rows
        self.count += len(rows)

    def directions(self, count: int) -> Tensor:
        """Return the orthonormal directions of the largest variances, (C, count)."""
        mean = self.total / self.count
        _, vectors = torch.linalg.eigh(self.products / self.count - mean[:, None] * mean[None, :])
        return vectors.flip(1)[:, :count].float()


class PaDiM(AnomalyDetector):
    """PaDiM.

    Args:
        encoder: the network.
        dims: how many of the channels are kept; more than there are keeps all.
        projection: 'random' keeps channels at random, as published; 'learned' keeps the directions of each map in which good features
            vary most, found in a pass of its own.
        shrinkage: added to the variances, without which few images have no inverse covariance.
        smoothing: standard deviation in pixels.
    """

    strides = (4, 8, 16)

    def __init__(
        self,
        encoder: Encoder,
        dims: int = 100,
        projection: Literal["random", "learned"] = "random",
        shrinkage: float = 0.01,
        smoothing: float = 4.0,
    ) -> None:
        super().__init__(encoder, smoothing=smoothing)
        numbers = isinstance(dims, int) and isinstance(shrinkage, int | float)
        if not numbers or dims < 1 or shrinkage <= 0 or projection not in ("random", "learned"):
            raise UserError("--arch padim: dims is 1 or more, shrinkage above 0, projection random or learned")
        self.shrinkage = shrinkage
        self.passes = 1 if projection == "random" else 2
        for number, chosen in enumerate(choose_channels(self.channels, dims)):
            self.register_buffer(f"projection_{number}", chosen)
            self.register_buffer(f"mean_{number}", torch.zeros(0))
            self.register_buffer(f"whitening_{number}", torch.zeros(0))
        self._scatters: list[Scatter] = []
        self._moments: list[Moments] = []
        self._grids: list[torch.Size] = []
        self._directions_wanted = projection == "learned"

    @property
    def is_fitted(self) -> bool:
        return self._of("whitening", 0).numel() > 0

    def _of(self, name: str, stage: int) -> Tensor:
        return self.get_buffer(f"{name}_{stage}")

    def _joined(self, images: Tensor) -> list[Tensor]:
        """Return for each stage its features and, repeated, those of all coarser ones, (N, A + B, h, w), the finest first."""
        joined: list[Tensor] = []
        for stage, each in reversed(list(enumerate(self.maps(images)))):
            own = torch.einsum("nchw,ca->nahw", each, self._of("projection", stage))
            joined.insert(0, torch.cat([own, repeated(joined[0], own.shape[-2:])], 1) if joined else own)
        return joined

    def observe(self, images: Tensor) -> None:
        if self._directions_wanted:
            found = self.maps(images)
            if not self._scatters:
                zeros = [each.new_zeros(each.shape[1], dtype=torch.float64) for each in found]
                self._scatters = [Scatter(each, each.new_zeros(len(each), len(each))) for each in zeros]
            for scatter, each in zip(self._scatters, found, strict=True):
                scatter.add(each)
            return
        joined = self._joined(images)
        self._grids = [each.shape[-2:] for each in joined]
        features = [at_places(each).contiguous() for each in joined]
        if not self._moments:
            widths = [self._of("projection", stage).shape[1] for stage in range(len(features))]
            self._moments = [Moments.around(each, own) for each, own in zip(features, widths, strict=True)]
        for moments, each in zip(self._moments, features, strict=True):
            moments.add(each)

    def finish(self) -> None:
        if self._directions_wanted:
            for stage, scatter in enumerate(self._scatters):
                self._of("projection", stage).copy_(scatter.directions(self._of("projection", stage).shape[1]))
            self._scatters, self._directions_wanted = [], False
            return
        if not self._moments or self._moments[0].count < 2:
            raise UserError("PaDiM needs at least two good images to learn from")
        self._fit()
        self._moments = []

    def _fit(self) -> None:
        """Turn the sums into means and factors, the coarsest stage first."""
        whole: Tensor | None = None
        sizes = [len(each.shift) for each in self._moments]
        for stage in reversed(range(len(sizes))):
            moments = self._moments[stage]
            below = None if whole is None else shared_places(self._grids[stage], self._grids[stage + 1])
            whitening, wholes = [], []
            for start in range(0, sizes[stage], CHUNK):
                places = slice(start, min(start + CHUNK, sizes[stage]))
                coarser = None if whole is None or below is None else whole[below[places]]
                factor, joint = conditional_factor(moments.covariance(places), coarser, self.shrinkage, joint=stage > 0)
                whitening.append(factor.float())
                wholes.append(joint)
            self._buffers[f"mean_{stage}"] = moments.mean()
            self._buffers[f"whitening_{stage}"] = torch.cat(whitening)
            whole = torch.cat(wholes) if stage > 0 else None

    def distances(self, images: Tensor) -> Tensor:
        total: Tensor | None = None
        for stage, each in reversed(list(enumerate(self._joined(images)))):
            # As maps: exported files fold the transposed means, and subtract in the order of memory.
            centered = each - self._of("mean", stage).T.unflatten(1, (each.shape[2], each.shape[3]))
            # In order in memory: a product of small matrices takes seven times as long otherwise.
            centered = at_places(centered).contiguous()
            square = torch.bmm(self._of("whitening", stage), centered).square().sum(1)
            square = square.T.unflatten(1, (each.shape[2], each.shape[3]))[:, None]
            total = square if total is None else square + repeated(total, (each.shape[2], each.shape[3]))
        assert total is not None
        return total[:, 0].sqrt()


def choose_channels(channels: list[int], dims: int) -> list[Tensor]:
    """Return for each map a matrix (C, A) that keeps some of its channels: `dims` of all, drawn at random, by the same draw always."""
    drawn = torch.randperm(sum(channels), generator=torch.Generator().manual_seed(SEED))[:dims].sort().values
    ends = torch.tensor(channels).cumsum(0).tolist()
    matrices = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        mine = drawn[(drawn >= begin) & (drawn < end)] - begin
        matrices.append(torch.eye(end - begin)[:, mine])
    return matrices


def conditional_factor(covariance: Tensor, coarser: Tensor | None, shrinkage: float, *, joint: bool) -> tuple[Tensor, Tensor]:
    """Return the stage's rows of the inverse Cholesky factor, (p, A, A + B), and the covariance of all features, (p, A + B, A + B).

    Args:
        covariance: of the stage's features with all, (p, A, A + B).
        coarser: covariance of the coarser ones, (p, B, B), shrunk already; None for the coarsest stage.
        shrinkage: added to the variances.
        joint: whether the second is wanted; else it is empty.
    """
    own = covariance.shape[1]
    eye = torch.eye(own, dtype=covariance.dtype, device=covariance.device)
    mine, cross = covariance[:, :, :own] + shrinkage * eye, covariance[:, :, own:]
    if coarser is None:
        return torch.linalg.solve_triangular(torch.linalg.cholesky(mine), eye.expand_as(mine), upper=False), mine
    # The regression of the stage's features on the coarser ones, (p, A, B).
    slope = torch.cholesky_solve(cross.transpose(1, 2), torch.linalg.cholesky(coarser)).transpose(1, 2)
    rest = mine - slope @ cross.transpose(1, 2)
    factor = torch.linalg.cholesky((rest + rest.transpose(1, 2)) / 2)
    rows = torch.linalg.solve_triangular(factor, torch.cat([eye.expand_as(mine), -slope], 2), upper=False)
    if not joint:
        return rows, covariance[:0]
    upper = torch.cat([mine, cross], 2)
    return rows, torch.cat([upper, torch.cat([cross.transpose(1, 2), coarser], 2)], 1)


def repeated(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Return maps (N, C, h, w) at a larger size (H, W), each place repeated."""
    return F.interpolate(maps, size=tuple(size), mode="nearest")


def shared_places(fine: torch.Size, coarse: torch.Size) -> Tensor:
    """Return for each place of a fine grid (h, w) the number of the coarse place that `repeated` puts there, (h * w,)."""
    numbers = torch.arange(coarse.numel(), dtype=torch.float64).view(1, 1, *coarse)
    return repeated(numbers, fine).flatten().long()


def at_places(maps: Tensor) -> Tensor:
    """Return maps (N, C, h, w) place by place, (h * w, C, N)."""
    return maps.flatten(2).permute(2, 1, 0)
