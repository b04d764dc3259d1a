"""What opening the data set has to say, classes that a split lacks, and files that are not used."""

import os
from collections import Counter
from pathlib import Path

from dataloader.checks.findings import Finding
from dataloader.checks.survey import Survey
from dataloader.sources.folders import is_image_name
from dataloader.splits.split import name_some
from utils.text import counted

# Suffixes of pictures that the loader does not take.
PICTURES = frozenset({"heic", "heif", "avif", "jfif", "jp2", "svg", "raw", "cr2", "nef", "arw", "dng", "psd", "ico", "ppm", "pgm"})


def find(survey: Survey) -> list[Finding]:
    """Return a warning for every note of the catalog, for a split that is not there, and for pictures that are left out."""
    findings = [
        Finding("warning", note, "What is not there is neither learned nor measured; see docs/data.md for the layouts.")
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
        title = f"{counted(sum(others.values()), 'other file')} beside the images ({kinds})"
        findings.append(Finding("info", title, "They are not used.", figures=others))
    return findings


def _ignored(root: Path) -> Counter[str]:
    """Return suffix -> number of visible files that are no images by their names; nothing for a list, which may lie anywhere."""
    found: Counter[str] = Counter()
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.update(name.rpartition(".")[2].lower() if "." in name else "" for name in names if name[0] != "." and not is_image_name(name))
    return found
