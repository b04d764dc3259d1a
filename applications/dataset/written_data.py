"""What prepared and packed data sets say of themselves, and where they may lie."""

from collections.abc import Container, Mapping
from pathlib import Path
from shlex import quote

from applications.settings.options import DataOptions
from dataloader import SOURCES
from dataloader.splits.catalog import Catalog
from utils.errors import UserError
from utils.logs import log
from utils.text import counted


def refuse_inside(folder: Path, root: Path) -> None:
    """Raise UserError when a new folder would lie among the images that it is made of."""
    source = root.resolve() if root.is_dir() else root.resolve().parent
    if root.is_dir() and (folder.resolve() == source or source in folder.resolve().parents):
        raise UserError(f"{folder} lies inside {root}, whose images it is made of; name a folder elsewhere")


def refuse_positions(catalog: Catalog, flag: str) -> None:
    """Raise UserError for images with masks, boxes or defects, which a new folder of images and labels would lose."""
    if any(split.truths is not None for split in catalog.splits.values()):
        raise UserError(
            f"{flag} writes images with labels, and each image of {catalog.root} has {catalog.target.per_image}, which it would lose"
        )


def describe(catalog: Catalog) -> str:
    """Return how many classes there are, and how many images every split has."""
    images = describe_counts({name: len(split) for name, split in catalog.splits.items()})
    return f"{counted(len(catalog.classes), 'class', 'classes')}; {images}"


def describe_counts(counts: Mapping[str, int]) -> str:
    """Return how many images every split has: '8 train, 1 val images', '1 test image'."""
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"{listed} {'image' if sum(counts.values()) == 1 else 'images'}"


def suggest_training(data: DataOptions, folder: Path, splits: Container[str], *, numbers: Path | None, side: int | None = None) -> None:
    """Say how to train on a new folder, where it has what training needs.

    Args:
        data: of this call.
        folder: what was written.
        splits: names of its splits.
        numbers: file of mean and standard deviation, where there is one.
        side: smaller side of all its images, in pixels, where they have one.
    """
    if "train" not in splits or "val" not in splits:
        return
    # A bare name would be read as a built-in source, so write ./NAME.
    command = f"python main.py --data {'./' if str(folder) in SOURCES else ''}{quote(str(folder))}"
    if numbers is not None:
        command += f" --mean_std {quote(str(numbers))}"
    height, width = usual = type(data)().image_size
    if data.image_size != usual:
        height, width = data.image_size
    elif side is not None and side < max(usual):
        height = width = side
    if (height, width) != usual:
        command += f" --image_size {height} {width}"
    log().info(f"next: {command}")


def name_of_data(data: str, root: Path) -> str:
    """Return what the report of --data is called: its built-in name, whose images may lie deeper, else the last part of its path."""
    return data if data in SOURCES else root.resolve().stem
