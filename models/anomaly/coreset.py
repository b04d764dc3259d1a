"""Greedy k-center: few points near which all others lie. Gonzalez (1985); Sener and Savarese (arXiv 1708.00489).

The plain algorithm takes the point that is farthest from all chosen ones, and measures the distance of all points to it: one pass over the
data for each choice. Here distances are kept as upper bounds and brought up to date only for the farthest points (lazy evaluation),
among which centers are chosen as long as none of the others can be farther; then all points are measured against the new centers in one
matrix product. With a slack of 0 the choice is that of the plain algorithm. A larger slack ends a round later: a chosen point is then at
least 1 - slack times as far as the farthest, which makes the guarantee of the algorithm (twice the best radius) that much weaker.
"""

import torch
from torch import Tensor

# Points that are looked at as the next centers.
CANDIDATES = 2048
# Centers that are measured against all points at once.
ROUND = 512
# Rows that are measured together, so that the products stay in the cache.
BLOCK = 16384
SLACK = 0.1


def project(points: Tensor, dims: int, *, seed: int = 0) -> Tensor:
    """Return points (N, D) projected at random to (N, dims), which keeps distances up to a factor near 1 (Johnson and Lindenstrauss, 1984).

    With no fewer dimensions than there are, the points are returned.
    """
    if dims >= points.shape[1]:
        return points
    matrix = torch.randn(points.shape[1], dims, generator=torch.Generator().manual_seed(seed))
    return points @ (matrix / dims**0.5).to(points)


def greedy_centers(points: Tensor, count: int, *, slack: float = SLACK, seed: int = 0) -> Tensor:
    """Return the numbers of `count` points, int64 (count,), in the order in which they were chosen, the first at random.

    Args:
        points: float32 (N, D).
        count: how many; at most N are returned.
        slack: how much nearer than the farthest point a center may be, as a share of its distance; 0 for the plain algorithm.
        seed: of the first center.
    """
    size = len(points)
    count = min(count, size)
    # About the mean, so that the products below lose nothing by large values.
    points = (points - points.mean(0)).contiguous()
    norms = points.square().sum(1)
    first = int(torch.randint(size, (1,), generator=torch.Generator().manual_seed(seed)))
    chosen = torch.full((count,), first, dtype=torch.int64)
    nearest = torch.full((size,), float("inf"), device=points.device)
    done, fresh = 1, chosen[:1]
    while True:
        _lower(nearest, points, norms, fresh.to(points.device))
        if done == count:
            break
        picked = _round(points, norms, nearest, min(ROUND, count - done), slack)
        chosen[done : done + len(picked)] = picked.cpu()
        fresh = chosen[done : done + len(picked)]
        done += len(picked)
    return chosen


def _lower(nearest: Tensor, points: Tensor, norms: Tensor, centers: Tensor) -> None:
    """Bring the squared distances to the nearest center, (N,), up to date with new centers, in place."""
    new, lengths = points[centers], norms[centers]
    for start in range(0, len(points), BLOCK):
        part = slice(start, start + BLOCK)
        products = torch.addmm(lengths[None, :], points[part], new.T, alpha=-2.0)
        torch.minimum(nearest[part], (products.amin(1) + norms[part]).clamp_(min=0), out=nearest[part])
    nearest[centers] = 0


def _round(points: Tensor, norms: Tensor, nearest: Tensor, most: int, slack: float) -> Tensor:
    """Return the numbers of the next centers, at least one, at most `most`, chosen among the farthest points."""
    size = min(CANDIDATES, len(points))
    bounds, places = nearest.topk(size)
    # None of the others is farther than this; where all points are candidates, none is left.
    floor = float(bounds[-1]) * (1 - slack) ** 2 if size < len(points) else 0.0
    candidates, lengths, distances = points[places], norms[places], bounds.clone()
    picked = []
    for _ in range(most):
        best = int(distances.argmax())
        if picked and float(distances[best]) < floor:
            break
        picked.append(best)
        fresh = (lengths + lengths[best] - 2 * (candidates @ candidates[best])).clamp_(min=0)
        torch.minimum(distances, fresh, out=distances)
        distances[best] = -1.0
    return places[torch.tensor(picked, device=places.device)]
