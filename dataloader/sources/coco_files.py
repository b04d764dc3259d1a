"""Where the JSON files of COCO and their images lie."""

import re
from pathlib import Path

from dataloader.sources.folders import split_folders
from dataloader.sources.mask_layouts import IMAGE_FOLDERS, SPLITS
from utils.errors import UserError


def find_coco(root: Path) -> list[tuple[str, Path]]:
    """Return (split, file) of COCO's JSON below a folder: annotations/*.json, train.json, or _annotations.coco.json in the splits."""
    found = []
    places = sorted(
        (*root.glob("annotations/*.json"), *root.glob("*.json"), *root.glob("boxes/*.json"), *root.glob("*/_annotations.coco.json"))
    )
    # COCO's own archive holds captions and keypoints beside instances.
    places.sort(key=lambda file: "instances" not in file.stem.lower())
    for split in SPLITS:
        words = {"train": r"train", "val": r"val|valid|validation", "test": r"test"}[split]
        pattern = re.compile(rf"(^|[^a-z])({words})([^a-z]|$)")
        # The name of the data folder itself says nothing of splits.
        of_split = [file for file in places if pattern.search(file.relative_to(root).with_suffix("").as_posix().lower())]
        found += [(split, file) for file in of_split[:1]]
    return found or [("", file) for file in places[:1]]


def image_folder(root: Path, split: str, file: Path, name: str | None) -> Path:
    """Return the folder in which the images of a file are.

    Raises:
        UserError: it names no images, or they are nowhere.
    """
    if name is None:
        raise UserError(f"{file} names no images")
    own = split_folders(root)
    inners = [inner for each in ([split] if split else SPLITS) for inner in (own.get(each, each), f"{each}2017", f"{each}2014")]
    bases = (root, *(root / each for each in IMAGE_FOLDERS))
    places = [
        file.parent,
        *(base / inner for base in bases for inner in (*inners, "") if inner or base != root),
        root,
    ]
    folder = next((place for place in places if (place / name).is_file()), None)
    if folder is None:
        raise UserError(f"{file} names {name}, which is in none of {', '.join(str(place) for place in places[:3])} ...")
    return folder
