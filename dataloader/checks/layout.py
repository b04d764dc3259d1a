"""Notes from opening the data set, classes that a split lacks, and files that are not used."""

import os
from collections import Counter
from pathlib import Path

from dataloader.checks.findings import Finding
from dataloader.checks.survey import Survey
from dataloader.sources.folders import is_image_name
from dataloader.splits.catalog import Catalog, name_some
from utils.text import counted

# Suffixes of images that the loader does not read.
PICTURES = frozenset({"heic", "heif", "avif", "jfif", "jp2", "svg", "raw", "cr2", "nef", "arw", "dng", "psd", "ico", "ppm", "pgm"})


def find(survey: Survey) -> list[Finding]:
    """Return an error for class folders without images, and warnings for notes of the catalog, missing splits and unread pictures."""
    findings = []
    notes = survey.catalog.notes
    if empty := _empty_classes(survey.catalog):
        what = "class folder holds" if len(empty) == 1 else "class folders hold"
        title = f"{len(empty)} {what} no images to train on: {name_some(empty)}"
        findings.append(Finding("error", title, "Training refuses them: add images, or remove the folders."))
        notes = [note for note in notes if not note.startswith("train:")]
    advice = "Missing images are neither learned nor measured; see docs/data.md for the layouts."
    findings += [Finding("warning", note, advice) for note in notes]
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


def _empty_classes(catalog: Catalog) -> list[str]:
    """Return the classes whose folder holds no image that training could take; those of a list come from its lines,
    and those of masks from their pixels."""
    if catalog.listed or "train" not in catalog.splits or catalog.splits["train"].truths is not None:
        return []
    # Of a folder that is cut here, any image might have gone to train.
    splits = catalog.splits.values() if catalog.split_origin == "seeded" else [catalog.splits["train"]]
    held = {int(target) for split in splits for target in split.targets}
    return [name for number, name in enumerate(catalog.classes) if number not in held]


def _ignored(root: Path) -> Counter[str]:
    """Return suffix -> number of visible files whose names are not those of images; nothing for a list, which may be in any folder."""
    found: Counter[str] = Counter()
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.update(name.rpartition(".")[2].lower() if "." in name else "" for name in names if name[0] != "." and not is_image_name(name))
    return found
