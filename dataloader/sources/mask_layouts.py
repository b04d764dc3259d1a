"""Where images and their masks lie: folders side by side, in splits or by lists of names; outlines as YOLO and COCO have them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataloader.sources.folders import image_files, split_folders, subfolders
from utils.errors import UserError

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "segmentations", "gt")
LIST_FOLDERS = ("", "ImageSets/Segmentation", "ImageSets", "lists", "splits")
SPLITS = ("train", "val", "test")
# What masks may be called besides the name of their image.
ENDINGS = ("", "_mask", "_masks", "_label", "_labels", "_seg", "_L")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True)
class Pairs:
    """Images and the files that say what their pixels are; paths are POSIX, below `root`.

    Attributes:
        root: of both.
        images: split -> images; '' for images that nobody has split.
        files: image -> its mask, or its text file.
        folders: of the masks.
        alone: files of masks without an image.
        bare: folders of splits whose images have no folder of masks, which are left out.
    """

    root: Path
    images: Mapping[str, Sequence[str]]
    files: Mapping[str, str]
    folders: tuple[Path, ...]
    alone: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


def find_root(root: Path) -> Path:
    """Return the folder that holds images and masks side by side: `root`, or the one above where `root` is that of the images."""
    inside = _side_by_side(root)
    return root.parent if inside is None and root.name.lower() in IMAGE_FOLDERS and _side_by_side(root.parent) is not None else root


def has_masks(root: Path) -> bool:
    """Whether a place is a folder that holds images/ and masks/, or splits that do: by the names of the folders alone."""
    if not root.is_dir():
        return False
    clear = [name for name in MASK_FOLDERS if "mask" in name or "seg" in name]
    folders = (root, *(root / name for name in split_folders(root).values()))
    return any((found := _side_by_side(folder)) is not None and found[1].name.lower() in clear for folder in folders)


def find_pairs(root: Path, suffixes: Sequence[str] = MASK_SUFFIXES, lists: Sequence[str] = LIST_FOLDERS) -> Pairs | None:
    """Return images with the files of `suffixes` beside them; None where the folders are not side by side.

    Args:
        root: of both folders.
        suffixes: the first one wins.
        lists: folders in which train.txt, val.txt and test.txt are looked for.

    Raises:
        UserError: a list names an image that is not there.
    """
    places: list[tuple[str, Path, Path]] = []
    whole: list[Path] = []
    bare: list[Path] = []
    if (both := _side_by_side(root)) is not None:
        images, masks = both
        inside, beside, whole = split_folders(images), split_folders(masks), [masks]
        places = [(split, images / name, masks / beside[split]) for split, name in inside.items() if split in beside] or [
            ("", images, masks)
        ]
        bare = [images / name for split, name in inside.items() if split not in beside and places[0][0]]
    else:
        for split, name in split_folders(root).items():
            if (both := _side_by_side(root / name)) is not None:
                places.append((split, *both))
            else:
                bare.append(root / name)
    if not places:
        return None
    found: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    alone: list[str] = []
    for split, images, masks in places:
        front, names = _below(images, root), image_files(images)
        stems = dict(_stems(masks, suffixes))
        for name in names:
            key = name.rpartition(".")[0]
            mask = next((stems.pop(key + ending) for ending in ENDINGS if key + ending in stems), None)
            if mask is not None:
                files[front + name] = _below(masks, root) + mask
        found.setdefault(split, []).extend(front + name for name in names)
        alone += [_below(masks, root) + name for name in stems.values()]
    if list(found) == [""]:
        found = dict(_listed(root, found[""], _below(places[0][1], root), lists)) or found
    folders = tuple(dict.fromkeys([*whole, *(masks for _, _, masks in places)]))
    left_out = tuple(folder.relative_to(root).as_posix() for folder in bare)
    return Pairs(root, found, files, folders, tuple(sorted(alone)), left_out)


def _side_by_side(folder: Path) -> tuple[Path, Path] | None:
    """Return the folder of images and that of masks in a folder; None unless it has both."""
    if not folder.is_dir():
        return None
    names = {name.lower(): name for name in subfolders(folder)}
    images = next((names[name] for name in IMAGE_FOLDERS if name in names), None)
    masks = next((names[name] for name in MASK_FOLDERS if name in names), None)
    return None if images is None or masks is None else (folder / images, folder / masks)


def _below(folder: Path, root: Path) -> str:
    """Return 'images/train/' for a folder below the root."""
    return f"{folder.relative_to(root).as_posix()}/"


def _stems(folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (path without suffix, path) of the files of some suffixes below a folder; the first suffix wins."""
    found = sorted(
        (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.name[0] != "."),
        key=lambda name: -suffixes.index(Path(name).suffix.lower()),
    )
    for name in found:
        yield name.rpartition(".")[0], name


def _listed(root: Path, images: Sequence[str], front: str, folders: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (split, images) by the lists train.txt, val.txt and test.txt: a name a line, with or without folder and suffix.

    Raises:
        UserError: a list names an image that is not there.
    """
    known: dict[str, str] = {}
    for path in images:
        inner = path.removeprefix(front)
        known |= {path: path, inner: path, inner.rpartition(".")[0]: path}
    for split in SPLITS:
        file = next((place for folder in folders if (place := root / folder / f"{split}.txt").is_file()), None)
        if file is None:
            continue
        chosen = []
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if not line.strip():
                continue
            # A second column names the mask, which its own name already tells.
            name = line.split()[0].removeprefix("./") if line.strip() not in known else line.strip()
            path = known.get(name) or known.get(name.rpartition(".")[0]) or known.get(name.removeprefix(front))
            if path is None:
                raise UserError(f"{file}, line {number}: there is no image {name} in {root / front}")
            chosen.append(path)
        yield split, sorted(dict.fromkeys(chosen))
