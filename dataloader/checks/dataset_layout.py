"""Notes from opening the data set, classes that a split lacks, and files that are not used."""

import os
from collections import Counter
from pathlib import Path

from dataloader.checks.findings import Finding
from dataloader.checks.survey import Survey
from dataloader.sources.folders import is_image_name
from dataloader.splits.split import name_some
from utils.text import counted

# Suffixes of images that the loader does not read.
PICTURES = frozenset({"heic", "heif", "avif", "jfif", "jp2", "svg", "raw", "cr2", "nef", "arw", "dng", "psd", "ico", "ppm", "pgm"})


def find(survey: Survey) -> list[Finding]:
    """Return a warning for every note of the catalog, for a split that is not there, and for pictures that are left out."""
    findings = [
        Finding("warning", note, "Missing images are neither learned nor measured; see docs/data.md for the layouts.")
        for note in survey.catalog.notes
    ]
    if missing := [name for name in ("train", "val") if name not in survey.catalog.splits]:
        findings.append(Finding("warning", f"there are no {' and no '.join(missing)} images", "Training needs train and val images."))
    ignored = _ignored(survey.catalog.root)
    pictures = {suffix: count for suffix, count in ignored.items() if suffix in PICTURES}
    if pictures:
        title = (
            f"{counted(sum(pictures.values()), 'picture is', 'pictures are')} of a kind that is not read: .{name_some(list(pictures), 5)}"
        )
        findings.append(Finding("warning", title, "Convert them to PNG or JPEG to use them.", figures=pictures))
    others = {suffix: count for suffix, count in ignored.items() if suffix not in PICTURES}
    if others:
        kinds = name_some([f".{suffix}" if suffix else "no suffix" for suffix in others], 5)
        title = f"{counted(sum(others.values()), 'other file')} next to the images ({kinds})"
        findings.append(Finding("info", title, "They are not used.", figures=others))
    return findings


def _ignored(root: Path) -> Counter[str]:
    """Return suffix -> number of visible files whose names are not those of images; nothing for a list, which may be in any folder."""
    found: Counter[str] = Counter()
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.update(name.rpartition(".")[2].lower() if "." in name else "" for name in names if name[0] != "." and not is_image_name(name))
    return found
