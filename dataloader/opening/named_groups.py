"""The groups of images that --group_by names: by a pattern of their paths, or in a file."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dataloader.sources.list_formats import refuse, table_rows
from dataloader.sources.lists import Listing
from utils.errors import UserError
from utils.text import counted

FORM = "the first line is image,group"
GROUPS_TWICE = "{} names groups itself; leave --group_by out, or take the column 'group' out"


def read_groups(spec: str, paths: Sequence[str]) -> dict[str, str]:
    """Return path -> group.

    Args:
        spec: a CSV file with the columns image and group, whose paths are those of the data; or a regular expression that is
            searched in every path: its first group, or all that it matches, is the name.
        paths: POSIX paths, relative to the data folder.

    Raises:
        UserError: the expression is invalid or matches nothing in a path; a line of the file is wrong, or an image is missing there.
    """
    return _from_file(Path(spec).expanduser(), paths) if spec.lower().endswith(".csv") else _from_pattern(spec, paths)


def _from_pattern(spec: str, paths: Sequence[str]) -> dict[str, str]:
    try:
        pattern = re.compile(spec)
    except re.error as error:
        raise UserError(f"--group_by '{spec}' is not a regular expression ({error}) or a .csv file") from error
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


def with_named_groups(listing: Listing, root: Path, group_by: str | None) -> Listing:
    """Return the listing with the groups that --group_by names.

    Raises:
        UserError: the listing already names groups.
    """
    if group_by is None:
        return listing
    if any(image.group for image in listing.images):
        raise UserError(GROUPS_TWICE.format(root))
    groups = read_groups(group_by, [image.path for image in listing.images])
    return replace(listing, images=tuple(image._replace(group=groups[image.path]) for image in listing.images))
