"""Groups of images that belong together, such as shots of one object, and splits that keep them together."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dataloader.splits.holdout import SPLITS, check_shares, needs_of, rank_of
from dataloader.splits.stratify import ImageGroup, assign_groups
from utils.errors import UserError
from utils.text import counted


def hold_out_groups(
    labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], *, seed: int, val_share: float, test_share: float
) -> dict[str, str]:
    """Split groups of images so that no group is in two splits and every label keeps its shares as well as possible.

    Every label has a group in train; one of three groups or more has one in every split where that is possible.

    Args:
        labels: POSIX path -> names.
        groups: POSIX path -> group; '' is a group of its own.
        seed: decides between groups of similar size.
        val_share, test_share: of all images.

    Returns:
        Path -> split, sorted by path.

    Raises:
        UserError: a share is negative, nothing would be left to train on, or there are fewer groups than splits.
    """
    check_shares(val_share, test_share)
    wanted = [split for split, share in zip(SPLITS, (1.0, val_share, test_share), strict=True) if share > 0]
    names, members, totals = _members(labels, groups, seed=seed, pin=0)
    if len(names) < len(wanted):
        raise UserError(f"{counted(len(names), 'group of images is', 'groups of images are')} too few for {', '.join(wanted)}")
    needs = [needs_of(int(total), val_share, test_share) for total in totals]
    places = assign_groups(members, np.array([[need[split] for need in needs] for split in wanted], dtype=np.float64))
    _bring_back(members, places, len(totals))
    by_group = {name: wanted[place] for name, place in zip(names, places.tolist(), strict=True)}
    return {path: by_group[_key(path, groups)] for path in sorted(labels)}


def group_folds(labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], count: int, *, seed: int) -> dict[str, int]:
    """Return path -> number of the fold that validates on it, from 0; -1 where its group is the only one of a label.

    No group is in two folds, and every label is spread over them as evenly as possible.

    Args:
        labels: POSIX path -> names.
        groups: POSIX path -> group; '' is a group of its own.
        count: number of folds.
        seed: decides between groups of similar size.
    """
    # The extra last part holds groups that are the only one of a label; they stay in train in every fold.
    names, members, totals = _members(labels, groups, seed=seed, pin=count)
    pinned = np.zeros(len(totals))
    for member in members:
        if member.pinned is not None:
            pinned[member.columns] += member.counts
    wanted = np.vstack([np.tile((totals - pinned) / count, (count, 1)), pinned])
    places = assign_groups(members, wanted).tolist()
    by_group = {name: -1 if place == count else place for name, place in zip(names, places, strict=True)}
    return {path: by_group[_key(path, groups)] for path in labels}


def count_groups(groups: Mapping[str, str]) -> int:
    """Return how many groups there are; an image without one is a group of its own."""
    return len({_key(path, groups) for path in groups})


def _key(path: str, groups: Mapping[str, str]) -> str:
    # Paths and names contain no null character.
    return groups.get(path) or f"\0{path}"


def _members(
    labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], *, seed: int, pin: int
) -> tuple[list[str], list[ImageGroup], np.ndarray]:
    """Return the names of the groups, the groups, and the images of every column, (L + 1,): the labels, and all images.

    The largest groups come first; the seed decides between equal ones. The only group of a label is pinned to the part `pin`.
    """
    columns = {name: number for number, name in enumerate(sorted({name for names in labels.values() for name in names}))}
    found: dict[str, Counter[int]] = {}
    for path in sorted(labels):
        counts = found.setdefault(_key(path, groups), Counter())
        counts.update(columns[name] for name in labels[path])
        counts[len(columns)] += 1
    owners = Counter(column for counts in found.values() for column in counts if column < len(columns))
    names = sorted(found, key=lambda name: (-found[name][len(columns)], rank_of(name, seed), name))
    members, totals = [], np.zeros(len(columns) + 1)
    for name in names:
        held = sorted(found[name])
        alone = any(owners[column] == 1 for column in held[:-1])
        member = ImageGroup(np.array(held), np.array([found[name][column] for column in held], dtype=np.float64), pin if alone else None)
        totals[member.columns] += member.counts
        members.append(member)
    return names, members, totals


def _bring_back(members: Sequence[ImageGroup], places: np.ndarray, columns: int) -> None:
    """Move the smallest group of every label that is missing in training into it (part 0)."""
    held = np.zeros(columns, dtype=bool)
    for member, place in zip(members, places.tolist(), strict=True):
        held[member.columns] |= place == 0
    for number in reversed(range(len(members))):
        if not held[members[number].columns].all():
            places[number] = 0
            held[members[number].columns] = True
