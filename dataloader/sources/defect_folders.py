"""Good parts and parts with defects, in the layout of MVTec AD or simpler ones, with the masks of the defects where there are some.

Bergmann et al.: MVTec AD, A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection (CVPR 2019): train/good, test/good,
test/<kind>, and ground_truth/<kind>/<name>_mask.png.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from dataloader.images.read import upright_size
from dataloader.sources.folders import has_images, image_files, split_folders, subfolders
from dataloader.sources.lists import Listing
from dataloader.sources.mask_files import read_mask
from dataloader.targets.defect import GOOD, Defect, unmarked
from dataloader.targets.mask import Mask
from utils.errors import UserError
from utils.text import counted

# What a folder, or a label, of good parts may be called, in upper or lower case.
GOOD_NAMES = frozenset({GOOD, "ok", "normal"})
MASKS = "ground_truth"
DEFECT_LAYOUT = "DIR/train/good, DIR/test/good, DIR/test/<kind of defect>, masks in DIR/ground_truth/<kind>; or a folder of good images"


@dataclass(frozen=True)
class DefectImages:
    """The images of a data set of good parts and parts with defects.

    Attributes:
        kinds: path -> kind of defect, GOOD for none.
        splits: path -> 'train', 'val', 'test', or None where it is not said.
        masks: path -> the file of its mask, for those that have one.
        divided: whether the user has divided them into splits.
        notes: warnings for the user.
    """

    kinds: Mapping[str, str]
    splits: Mapping[str, str | None]
    masks: Mapping[str, Path]
    divided: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DefectTruths:
    """What is known of the images: the kind of defect, and its mask.

    Attributes:
        root: where the paths start.
        kinds: path -> kind.
        masks: path -> file of the mask.
        classes: names of the numbers in a mask.
    """

    root: Path
    kinds: Mapping[str, str]
    masks: Mapping[str, Path]
    classes: tuple[str, ...] = (GOOD, "defect")

    def read(self, path: str) -> Defect:
        """Return what is known of an image.

        Raises:
            ImageError: the image or its mask is damaged.
        """
        kind = self.kinds[path]
        if path in self.masks:
            return Defect(kind, Mask((read_mask(self.masks[path]) > 0).astype(np.uint8)))
        size = upright_size(self.root / path)
        return Defect(kind, Mask(np.zeros(size, np.uint8)) if kind == GOOD else unmarked(size))

    def nothing(self) -> Defect:
        """Return what is known of padding: nothing, of one pixel."""
        return Defect(GOOD, unmarked((1, 1)))

    def count(self, paths: Sequence[str]) -> np.ndarray:
        """Return how many of some images are good, and how many have a defect, int64 (2,)."""
        bad = sum(self.kinds[path] != GOOD for path in paths)
        return np.array([len(paths) - bad, bad], np.int64)


def kind_of(name: str) -> str:
    """Return the kind that a folder or a label names; GOOD for all names of good parts."""
    return GOOD if name.lower() in GOOD_NAMES else name


def looks_like_defect_folders(root: Path) -> bool:
    """Whether a folder can only be meant for anomaly detection: its train folder has good parts alone."""
    train = split_folders(root).get("train") if root.is_dir() else None
    return train is not None and [kind_of(name) for name in subfolders(root / train)] == [GOOD]


def read_defect_folders(root: Path) -> DefectImages:
    """Find the images below `root`, and their masks.

    Raises:
        UserError: there are no good images, or training has defects.
    """
    folders = split_folders(root)
    if folders:
        kinds, splits, notes = _of_splits(root, folders)
    else:
        kinds, splits, notes = _of_one_folder(root)
    if GOOD not in kinds.values():
        raise UserError(f"{root} holds no good images, from which anomaly detection learns. Expected {DEFECT_LAYOUT}")
    return _with_masks(root, kinds, splits, notes, divided=bool(folders))


def read_defect_list(root: Path, listing: Listing) -> DefectImages:
    """Return the images of a list whose labels are 'good' or a kind of defect; masks lie in ground_truth beside the list.

    Raises:
        UserError: an image has several labels, or training has defects.
    """
    if listing.multi_label or listing.store is not None:
        raise UserError(f"{root}: --task anomaly takes a list with the columns image,label, and a label such as good or scratch for each")
    kinds = {image.path: kind_of(image.labels[0]) for image in listing.images}
    splits = {image.path: image.split for image in listing.images}
    for image in listing.images:
        if image.split == "train" and kinds[image.path] != GOOD:
            raise UserError(
                f"{image.place}: a defect ({kinds[image.path]}) in train, which takes good images alone; list it for test or val"
            )
    if not any(kind == GOOD and splits[path] in (None, "train") for path, kind in kinds.items()):
        raise UserError(f"{root} lists no good images to learn from; give them the label good, and the split train")
    divided = listing.images[0].split is not None
    # Defects without a split cannot be learned from, so they test.
    splits = {path: "test" if split is None and kinds[path] != GOOD else split for path, split in splits.items()}
    return _with_masks(listing.folder, kinds, splits, [], divided=divided)


def _of_splits(root: Path, folders: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str | None], list[str]]:
    kinds: dict[str, str] = {}
    splits: dict[str, str | None] = {}
    for split, folder in folders.items():
        place = root / folder
        names = subfolders(place, named=True)
        if not names and split != "test" and has_images(place):
            found = dict.fromkeys(image_files(place, f"{folder}/"), GOOD)
        else:
            found = {path: kind_of(name) for name in names for path in image_files(place / name, f"{folder}/{name}/")}
        wrong = sorted({kind for kind in found.values() if kind != GOOD})
        if split == "train" and wrong:
            raise UserError(
                f"{place} holds the folder {wrong[0]}/: anomaly detection learns from good images alone, in {folder}/good; move it to "
                f"{folders.get('test', 'test')}/"
            )
        if not found:
            raise UserError(f"{place} holds no images. Expected {DEFECT_LAYOUT}")
        kinds |= found
        splits |= dict.fromkeys(found, split)
    others = [name for name in subfolders(root) if name not in (*folders.values(), MASKS)]
    return kinds, splits, [f"{root}: ignored {', '.join(others)} next to {', '.join(folders.values())}"] if others else []


def _of_one_folder(root: Path) -> tuple[dict[str, str], dict[str, str | None], list[str]]:
    """Return the images of a folder without splits: one of good parts beside some of defects, or good parts alone."""
    names = [name for name in subfolders(root, named=True) if name != MASKS]
    if any(kind_of(name) == GOOD for name in names):
        kinds = {path: kind_of(name) for name in names for path in image_files(root / name, f"{name}/")}
        return kinds, {path: None if kind == GOOD else "test" for path, kind in kinds.items()}, []
    files = [path for path in image_files(root) if PurePosixPath(path).parts[0] != MASKS]
    if not files:
        raise UserError(f"--data {root} holds no images. Expected {DEFECT_LAYOUT}")
    notes = [f"{root}: no folder is named good, so all {counted(len(files), 'image')} count as good"] if names else []
    return dict.fromkeys(files, GOOD), dict.fromkeys(files), notes


def _mask_name(path: str, kind: str, known: Container[str]) -> str | None:
    """Return KIND/NAME, as masks are known, of an image: by as many of its folders as a mask has; None without a mask."""
    parts = PurePosixPath(path).with_suffix("").parts
    names = ("/".join((kind, *parts[start:])) for start in range(len(parts)))
    return next((name for name in names if name in known), None)


def _with_masks(root: Path, kinds: Mapping[str, str], splits: Mapping[str, str | None], notes: list[str], *, divided: bool) -> DefectImages:
    """Return the images with the masks of ground_truth/<kind>/: a file NAME_mask or NAME for each image that has one."""
    place = root / MASKS
    files = {} if not place.is_dir() else {path: place / path for path in image_files(place)}
    by_name = {str(PurePosixPath(path).with_suffix("")).removesuffix("_mask"): file for path, file in files.items()}
    defects = [path for path, kind in kinds.items() if kind != GOOD]
    claims: dict[Path, list[str]] = {}
    for path in defects:
        if (name := _mask_name(path, kinds[path], by_name)) is not None:
            claims.setdefault(by_name[name], []).append(path)
    masks = {paths[0]: file for file, paths in claims.items() if len(paths) == 1}
    if shared := {file: paths for file, paths in claims.items() if len(paths) > 1}:
        file, paths = next(iter(shared.items()))
        many = counted(len(shared), "mask is claimed by several images and", "masks are claimed by several images and")
        notes = [*notes, f"{root}: {many} not used, such as {file.relative_to(root)} by {paths[0]} and {paths[1]}; give these other names"]
    if masks and len(masks) < len(defects):
        lacking = next(path for path in defects if path not in masks)
        many = counted(len(defects) - len(masks), "image with a defect has", "images with defects have")
        notes = [*notes, f"{root}: {many} no mask in {MASKS}/, such as {lacking}; figures of pixels go without"]
    lone = sorted(set(files.values()) - claims.keys())
    if lone:
        many = counted(len(lone), "mask belongs", "masks belong")
        notes = [*notes, f"{root}: {many} to no image with a defect, such as {lone[0].relative_to(root)}"]
    return DefectImages(kinds, splits, masks, divided, tuple(notes))
