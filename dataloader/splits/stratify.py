"""Divide groups of images among parts so that every label keeps its share in each part, as far as whole groups allow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Cost of a label missing from a part; outweighs a few surplus images.
ABSENT = 1.0
# Cost of an empty part.
EMPTY = 1e9
PASSES = 8
# Groups times labels up to which groups are also exchanged; above that only single groups are moved.
MOST_EXCHANGED = 40_000
EPSILON = 1e-9


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """A group of images.

    Attributes:
        columns: which labels it has, int64 (L,); the last column is for all images.
        counts: how many images of each, float64 (L,).
        pinned: the part that it must be in, or None.
    """

    columns: np.ndarray
    counts: np.ndarray
    pinned: int | None = None


class Balance:
    """The distance of the parts from their wanted sizes while groups are assigned.

    The cost is the sum over parts and columns of (images - wanted)^2 / images of the column, plus ABSENT for every label that is wanted
    in a part but missing.

    Args:
        wanted: images of every column that each part should have, float64 (P, C); the last column is that of all images.
    """

    def __init__(self, wanted: np.ndarray) -> None:
        self.scale = 1 / np.maximum(wanted.sum(0), 1)
        self.gap = -wanted.astype(np.float64)
        self.held = np.zeros_like(self.gap)
        self.missed = np.where(wanted > 0, ABSENT, 0.0)
        self.missed[:, -1] = np.where(wanted[:, -1] > 0, EMPTY, 0.0)

    def adding(self, member: ImageGroup) -> np.ndarray:
        """Return the change of the cost if a group is added to each part, (P,)."""
        columns, counts = member.columns, member.counts
        gap = self.gap[:, columns]
        filled = np.where(self.held[:, columns] == 0, self.missed[:, columns], 0.0)
        return ((2 * gap + counts) * counts * self.scale[columns] - filled).sum(1)

    def removing(self, member: ImageGroup, part: int) -> float:
        """Return the change of the cost if a group is removed from its part."""
        columns, counts = member.columns, member.counts
        emptied = np.where(self.held[part, columns] == counts, self.missed[part, columns], 0.0)
        return float(((counts - 2 * self.gap[part, columns]) * counts * self.scale[columns] + emptied).sum())

    def shifted(self, parts: np.ndarray, changes: np.ndarray) -> np.ndarray:
        """Return the change of the cost of each part (N,) if `changes` (N, C) are added to it."""
        gap, held, missed = self.gap[parts], self.held[parts], self.missed[parts]
        absent = missed * (held + changes == 0) - missed * (held == 0)
        return ((2 * gap + changes) * changes * self.scale + absent).sum(1)

    def put(self, member: ImageGroup, part: int, sign: int = 1) -> None:
        """Add a group to a part; remove it with the sign -1."""
        self.gap[part, member.columns] += sign * member.counts
        self.held[part, member.columns] += sign * member.counts


def assign_groups(members: Sequence[ImageGroup], wanted: np.ndarray) -> np.ndarray:
    """Return the part of every group, int64 (G,).

    Groups are assigned in the given order, each where it costs least; then groups are moved, and where there are few also exchanged,
    as long as this lowers the cost.

    Args:
        members: the groups, large ones first.
        wanted: images of every column that each part should have, (P, C).
    """
    balance = Balance(wanted)
    places = np.zeros(len(members), dtype=np.int64)
    for number, member in enumerate(members):
        places[number] = int(np.argmin(balance.adding(member))) if member.pinned is None else member.pinned
        balance.put(member, int(places[number]))
    free = [number for number, member in enumerate(members) if member.pinned is None]
    exchange = len(members) * wanted.shape[1] <= MOST_EXCHANGED
    for _ in range(PASSES):
        changed = _moved(members, places, balance, free)
        if exchange:
            changed += _exchanged(members, places, balance, free)
        if not changed:
            break
    return places


def _moved(members: Sequence[ImageGroup], places: np.ndarray, balance: Balance, free: Sequence[int]) -> int:
    """Move single groups where that lowers the cost; return how many."""
    moved = 0
    for number in free:
        member, here = members[number], int(places[number])
        costs = balance.adding(member)
        costs[here] = np.inf
        there = int(np.argmin(costs))
        if balance.removing(member, here) + costs[there] < -EPSILON:
            balance.put(member, here, -1)
            balance.put(member, there)
            places[number] = there
            moved += 1
    return moved


def _exchanged(members: Sequence[ImageGroup], places: np.ndarray, balance: Balance, free: Sequence[int]) -> int:
    """Exchange each group for the one of another part that lowers the cost most; return how many were."""
    counts = np.zeros((len(free), balance.gap.shape[1]))
    for row, number in zip(counts, free, strict=True):
        row[members[number].columns] = members[number].counts
    exchanged = 0
    for mine, number in zip(counts, free, strict=True):
        here = int(places[number])
        others = places[free]
        surplus = mine - counts
        change = balance.shifted(np.full(len(free), here), -surplus) + balance.shifted(others, surplus)
        change[others == here] = 0
        best = int(np.argmin(change))
        if change[best] < -EPSILON:
            other, there = free[best], int(others[best])
            for member, source, destination in ((members[number], here, there), (members[other], there, here)):
                balance.put(member, source, -1)
                balance.put(member, destination)
            places[number], places[other] = there, here
            exchanged += 1
    return exchanged
