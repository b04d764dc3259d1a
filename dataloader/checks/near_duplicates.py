"""Near-duplicate images: re-encoded, resized or slightly brightened copies.

Two steps. A hash of 64 bits from the lowest frequencies of the discrete cosine transform (the idea is Zauner's: Implementation
and Benchmarking of Perceptual Image Hash Functions, 2010) finds candidates, without comparing all pairs. Then the slopes of
luma on a grid of 32x32 cells decide: they agree for one image saved twice, and differ for two images of similar things.
"""

from collections.abc import Iterator

import numpy as np

GRID = 32
# Images with a smaller side below this have too few pixels to tell similar from equal.
MIN_SIDE = 32
# Standard deviation of the grid, of 0..255, below which an image has too little contrast to compare.
MIN_SPREAD = 4.0
# Correlation of slopes. On 2,527 photographs of waste, pictures saved again at JPEG quality 25 stay above 0.89, and the first
# pair of different things is at 0.84.
SAME = 0.88
# Bits by which the hashes of candidates may differ; the search below finds all of these.
RADIUS = 7
# Most pairs of candidates to compare.
MOST = 1 << 20
_BANDS, _BITS = 4, 16
_BLOCK = 1 << 21
_ANGLES = np.arange(8)[:, None] * (np.arange(GRID) + 0.5)[None] * (np.pi / GRID)
_COSINES = np.cos(_ANGLES).astype(np.float32)


def perceptual_hash(luma: np.ndarray) -> int:
    """Return 64 bits for a grid of luma, uint8 (32, 32): which of the 8x8 lowest frequencies lie above their median."""
    waves = (_COSINES @ luma.astype(np.float32) @ _COSINES.T).ravel()
    # The first one is the mean brightness, which does not matter.
    bits = waves > np.median(waves[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(hashes: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Return the pairs of pictures that are the same one again, int64 (M, 2), each sorted.

    Where many images have one hash, each is compared only with the first, which is enough to join them.

    Args:
        hashes: uint64 (N,).
        grids: uint8 (N, 32, 32).
    """
    if len(hashes) < 2:
        return np.empty((0, 2), dtype=np.int64)
    order = np.argsort(hashes, kind="stable")
    unique, first = np.unique(hashes[order], return_index=True)
    heads = order[first]
    of_head = heads[np.searchsorted(unique, hashes)]
    equal = np.stack([of_head, np.arange(len(hashes))], axis=1)[of_head != np.arange(len(hashes))]
    found = [_confirmed(equal, grids)]
    found.append(_confirmed(heads[candidates(unique)], grids))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def candidates(unique: np.ndarray, most: int = MOST) -> np.ndarray:
    """Return the pairs of positions of hashes, all different, at most RADIUS bits apart, int64 (M, 2).

    Where there are more than `most` the radius shrinks, so that data sets of similar images do not take hours.
    """
    kept, apart, total, radius = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.uint8)], 0, RADIUS
    for pairs in close_hashes(unique):
        kept.append(pairs)
        apart.append(np.bitwise_count(unique[pairs[:, 0]] ^ unique[pairs[:, 1]]))
        total += len(pairs)
        while total > most and radius:
            radius -= 1
            kept = [block[distance <= radius] for block, distance in zip(kept, apart, strict=True)]
            apart = [distance[distance <= radius] for distance in apart]
            total = sum(map(len, kept))
    near = np.concatenate(kept)[np.concatenate(apart) <= radius]
    return np.unique(near, axis=0)


def close_hashes(unique: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs (M, 2) of positions of hashes at most RADIUS bits apart, perhaps more than once.

    Four bands of 16 bits: where 7 bits differ, some band differs in one at most. So a band is looked up as it is, and with each
    of its bits flipped (multi-index hashing: Norouzi, Punjani, Fleet, arXiv 1307.2982).

    Args:
        unique: uint64 (N,), all different.
    """
    bands = [_sorted_band(unique, band) for band in range(_BANDS)]
    flips = (0, *(1 << bit for bit in range(_BITS)))
    total = sum(int((starts[(keys ^ flip) + 1] - starts[keys ^ flip]).sum()) for keys, _, starts in bands for flip in flips)
    if total > len(unique) ** 2 // 2:
        # For dense hashes it is less work to compare each with all that follow.
        yield from _all_close(unique)
        return
    for keys, order, starts in bands:
        for flip in flips:
            begins = starts[keys ^ flip]
            for left, places in _joined(begins, starts[(keys ^ flip) + 1] - begins):
                right = order[places]
                close = (left < right) & (np.bitwise_count(unique[left] ^ unique[right]) <= RADIUS)
                if close.any():
                    yield np.stack([left[close], right[close]], axis=1)


def _sorted_band(unique: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a band of every hash, the order that sorts it, and where in that order each of its values begins."""
    keys = ((unique >> np.uint64(_BITS * band)) & np.uint64((1 << _BITS) - 1)).astype(np.int64)
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << _BITS))])
    return keys, order, starts


def _all_close(unique: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, _BLOCK // len(unique))
    for start in range(0, len(unique), rows):
        block = unique[start : start + rows]
        left, right = np.nonzero(np.bitwise_count(block[:, None] ^ unique[None, start:]) <= RADIUS)
        ahead = left < right
        if ahead.any():
            yield np.stack([left[ahead], right[ahead]], axis=1) + start


def _joined(begins: np.ndarray, counts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (left, position) for every position in [begins, begins + counts) of every left, in blocks that fit into memory."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        part = counts[start:stop]
        total = int(part.sum())
        if total:
            left = np.repeat(np.arange(start, stop), part)
            within = np.arange(total) - np.repeat(np.cumsum(part) - part, part)
            yield left, np.repeat(begins[start:stop], part) + within
        start = stop


def _confirmed(pairs: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Return the pairs whose slopes agree."""
    kept = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(pairs), 4096):
        block = pairs[start : start + 4096]
        kept.append(block[similarity(grids[block[:, 0]], grids[block[:, 1]]) >= SAME])
    return np.concatenate(kept)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation of the slopes of pairs of grids, both (M, 32, 32), as float32 (M,); 1 is the same picture."""
    return (_slopes(first) * _slopes(second)).sum(1)


def _slopes(grids: np.ndarray) -> np.ndarray:
    values = grids.astype(np.float32)
    corner = values[:, 1:, 1:]
    slopes = np.stack([corner - values[:, :-1, 1:], corner - values[:, 1:, :-1]], axis=1).reshape(len(grids), -1)
    return slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-6)


def grouped(pairs: np.ndarray) -> list[tuple[int, ...]]:
    """Return the sets of pictures that the pairs (M, 2) join, each sorted, in order of their first one."""
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while parent.setdefault(number, number) != number:
            parent[number] = number = parent[parent[number]]
        return number

    for left, right in pairs.tolist():
        left, right = root(left), root(right)
        parent[max(left, right)] = min(left, right)
    sets: dict[int, list[int]] = {}
    for number in sorted(parent):
        sets.setdefault(root(number), []).append(number)
    return [tuple(members) for _, members in sorted(sets.items())]
