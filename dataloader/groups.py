"""Groups of images that belong together, such as shots of one object: what they are, and a split that keeps them whole."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataloader.holdout import SPLITS, Entry, check_shares, needs_of, rank_of
from dataloader.sources.list_formats import refuse, table_rows
from utils.errors import UserError
from utils.text import counted

FORM = "the first line is image,group"


def read_groups(spec: str, paths: Sequence[str]) -> dict[str, str]:
    """Return path -> group.

    Args:
        spec: a CSV file with the columns image and group, whose paths are those of the data; or a regular expression that is
            searched in every path: its first group, or all that it matches, is the name.
        paths: POSIX paths, relative to the data folder.

    Raises:
        UserError: the expression is none or matches nothing in a path; a line of the file is wrong, or an image is missing there.
    """
    return _from_file(Path(spec).expanduser(), paths) if spec.lower().endswith(".csv") else _from_pattern(spec, paths)


def hold_out_groups(
    labels: Mapping[str, Sequence[str]], groups: Mapping[str, str], *, seed: int, val_share: float, test_share: float
) -> list[Entry]:
    """Split groups of images so that no group is in two splits and every label keeps its shares as well as that allows.

    The largest group goes first, to the split that lacks its labels most; the seed decides between equal ones.

    Args:
        labels: POSIX path -> names.
        groups: POSIX path -> group.
        seed: with the name of a group, what decides between groups of one size.
        val_share, test_share: of all images.

    Returns:
        One entry an image, sorted by path; its label is the first of its labels.

    Raises:
        UserError: a share is negative, nothing would be left to train on, or there are fewer groups than splits.
    """
    check_shares(val_share, test_share)
    members: dict[str, list[str]] = {}
    for path in sorted(labels):
        members.setdefault(groups[path], []).append(path)
    wanted = [split for split, share in zip(SPLITS, (1.0, val_share, test_share), strict=True) if share > 0]
    if len(members) < len(wanted):
        raise UserError(f"--group_by finds {counted(len(members), 'group')}, too few for {', '.join(wanted)}; choose a finer one")
    totals = Counter(label for names in labels.values() for label in names)
    needs = {label: needs_of(total, val_share, test_share) for label, total in totals.items()}
    overall = needs_of(len(labels), val_share, test_share)
    places: dict[str, str] = {}
    used: set[str] = set()
    ranked = sorted(members, key=lambda group: (-len(members[group]), rank_of(group, seed), group))
    for number, group in enumerate(ranked):
        counts = Counter(label for path in members[group] for label in labels[path])

        def lack(split: str, counts: Counter[str] = counts) -> tuple[float, int]:
            # A missing image of a rare label weighs more than one of a common label.
            return sum(count * needs[label][split] / totals[label] for label, count in counts.items()), overall[split]

        empty = [split for split in wanted if split not in used]
        # The last groups, the smallest, go where nothing is yet.
        split = max(empty if len(ranked) - number <= len(empty) else wanted, key=lack)
        used.add(split)
        for label, count in counts.items():
            needs[label][split] -= count
        overall[split] -= len(members[group])
        places |= dict.fromkeys(members[group], split)
    return [Entry(path, labels[path][0] if labels[path] else "", places[path]) for path in sorted(places)]


def _from_pattern(spec: str, paths: Sequence[str]) -> dict[str, str]:
    try:
        pattern = re.compile(spec)
    except re.error as error:
        raise UserError(f"--group_by '{spec}' is no regular expression ({error}), and no .csv file") from error
    groups = {}
    for path in paths:
        found = pattern.search(path)
        if found is None:
            raise UserError(f"--group_by '{spec}' matches nothing in {path}; every path needs a group")
        groups[path] = (found.group(1) if pattern.groups else found.group()) or ""
    return groups


def _from_file(file: Path, paths: Sequence[str]) -> dict[str, str]:
    rows = table_rows(file)
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    if sorted(names) != ["group", "image"]:
        refuse(file, line, f"{FORM}, not {','.join(names)}")
    groups: dict[str, str] = {}
    for line, cells in rows:
        if not cells:
            continue
        if len(cells) != 2:
            refuse(file, line, f"{counted(len(cells), 'cell')}; {FORM}")
        image, group = cells[names.index("image")].strip(), cells[names.index("group")].strip()
        if image in groups:
            refuse(file, line, f"{image} is listed twice")
        groups[image] = group
    missing = [path for path in paths if path not in groups]
    if missing:
        raise UserError(f"{file} names no group for {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
    return groups
