"""Hold out validation and test images of one folder or list, and remember which ones in a CSV file."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError
from utils.files import write_csv

FIELDS = ("path", "class", "split")
SPLITS = ("train", "val", "test")


class SplitLine(NamedTuple):
    """One line of a split file: a POSIX path relative to the data folder, its class (or labels, joined), its split."""

    path: str
    label: str
    split: str


def hold_out(files: Mapping[str, list[str]], *, seed: int, val_share: float, test_share: float) -> list[SplitLine]:
    """Split every class separately: class -> paths becomes one line per path, sorted by path.

    The split of an image depends on the seed and its path, not on the order of the directory. A class of
    three or more images has at least one in every split whose share is above zero; smaller ones stay in train.

    Raises:
        UserError: a share is negative, or nothing would be left to train on.
    """
    check_shares(val_share, test_share)
    entries = []
    for label, paths in files.items():
        val, test = _counts(len(paths), val_share, test_share)
        ranked = sorted(paths, key=lambda path: (rank_of(path, seed), path))
        places = ["val"] * val + ["test"] * test + ["train"] * (len(paths) - val - test)
        entries += [SplitLine(path, label, place) for path, place in zip(ranked, places, strict=True)]
    return sorted(entries)


def hold_out_labels(
    labels: Mapping[str, Sequence[str]], *, seed: int, val_share: float, test_share: float
) -> list[tuple[str, Sequence[str], str]]:
    """Split images that have several labels so that every label keeps its shares, by iterative stratification.

    Sechidis, Tsoumakas, Vlahavas: On the Stratification of Multi-Label Data (ECML PKDD 2011): the label with the fewest
    images left goes first, and each of its images to the split that lacks it most. Every label has an image in train; an
    image of a label that has fewer than three stays there.

    Args:
        labels: POSIX path -> names.
        seed: decides, with the path, between images with equal labels.
        val_share, test_share: of all images.

    Returns:
        (path, labels, split) of every image, sorted by path.

    Raises:
        UserError: a share is negative, or nothing would be left to train on.
    """
    check_shares(val_share, test_share)
    ranked = sorted(labels, key=lambda path: (rank_of(path, seed), path))
    totals = Counter(name for path in ranked for name in labels[path])
    needs = {name: needs_of(total, val_share, test_share) for name, total in totals.items()}
    overall = needs_of(len(ranked), val_share, test_share)
    left, places = Counter(totals), {}

    def place(path: str, split: str) -> None:
        places[path] = split
        overall[split] -= 1
        for name in labels[path]:
            needs[name][split] -= 1
            left[name] -= 1
            if not left[name]:
                del left[name]

    members: dict[str, list[str]] = {name: [] for name in totals}
    for path in ranked:
        for name in labels[path]:
            members[name].append(path)
        if any(totals[name] < 3 for name in labels[path]):
            place(path, "train")
    while left:
        rarest = min(left, key=lambda name: (left[name], name))
        for path in members[rarest]:
            if path not in places:
                # The images left of a label are as many as its splits still need, so one of them needs an image.
                place(path, max(SPLITS, key=lambda split: (needs[rarest][split], overall[split])))
    for path in ranked:
        if path not in places:
            place(path, max(SPLITS, key=lambda split: overall[split]))
    for paths in members.values():
        if all(places[path] != "train" for path in paths):
            places[paths[0]] = "train"
    return [(path, labels[path], places[path]) for path in sorted(places)]


def parse_fold(text: str) -> tuple[int, int]:
    """Return the number of a fold, from 0, and how many there are: '0/5' is (0, 5).

    Raises:
        UserError: it is not I/K.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or int(match[2]) < 2 or int(match[1]) >= int(match[2]):
        raise UserError(f"--fold {text}: write I/K, part I from 0 to K - 1 of K parts: 0/5, 1/5, ... 4/5")
    return int(match[1]), int(match[2])


def fold_numbers(labels: Mapping[str, str], count: int, *, seed: int) -> dict[str, int]:
    """Return path -> number of the fold that validates on it, from 0; -1 where it is the only one of its label.

    Stratified: the folds of a label differ by one image at most, and so do the folds as a whole. The fold of an image depends on
    the seed and the paths.

    Args:
        labels: path -> class, or all labels joined.
        count: number of folds.
        seed: of the order within a label.
    """
    members: dict[str, list[str]] = {}
    for path, label in labels.items():
        members.setdefault(label, []).append(path)
    found, place = {}, 0
    for label in sorted(members):
        paths = sorted(members[label], key=lambda path: (rank_of(path, seed), path))
        for path in paths:
            found[path] = place % count if len(paths) > 1 else -1
            # Each label starts at the fold where the one before ended, so that small labels do not all go to the first folds.
            place += len(paths) > 1
    return found


def check_shares(val_share: float, test_share: float) -> None:
    """Raise UserError when a share is negative, or nothing would be left to train on."""
    if val_share < 0 or test_share < 0 or val_share + test_share >= 1:
        raise UserError(f"--val_share {val_share} and --test_share {test_share} must be 0 or more and leave images to train on")


def needs_of(total: int, val_share: float, test_share: float) -> dict[str, int]:
    """Return how many of `total` images go to every split."""
    val, test = _counts(total, val_share, test_share)
    return {"train": total - val - test, "val": val, "test": test}


def _counts(total: int, val_share: float, test_share: float) -> tuple[int, int]:
    if total < 3:
        return 0, 0
    counts = [max(1, round(total * share)) if share > 0 else 0 for share in (val_share, test_share)]
    while sum(counts) >= total:
        counts[counts.index(max(counts))] -= 1
    return counts[0], counts[1]


def rank_of(path: str, seed: int) -> bytes:
    """Return the rank of a path in the order of a seed."""
    return hashlib.blake2b(f"{seed}/{path}".encode(errors="surrogateescape"), digest_size=8).digest()


def write_split_file(entries: Iterable[SplitLine], path: Path) -> None:
    """Write the lines as CSV with the columns path, class, split; the file appears complete or not at all."""
    write_csv(path, [FIELDS, *entries])


def read_split_file(path: Path) -> list[SplitLine]:
    """Return the lines of a split file, sorted by path.

    Raises:
        UserError: the file is missing, is not a split file, or names an image twice.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise UserError(f"cannot read the split file {path}: {getattr(error, 'strerror', None) or error}") from error
    if not rows or tuple(rows[0]) != FIELDS:
        raise UserError(f"{path} is not a split file: its first line must be {','.join(FIELDS)}")
    entries: dict[str, SplitLine] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(FIELDS) or row[2] not in SPLITS:
            raise UserError(f"{path}, line {number}: write path,class,split with the split one of {', '.join(SPLITS)}")
        if row[0] in entries:
            raise UserError(f"{path}, line {number}: {row[0]} is listed twice")
        entries[row[0]] = SplitLine(*row)
    return sorted(entries.values())
