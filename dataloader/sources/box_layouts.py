"""Where images and their files of boxes lie: side by side, beside each other in one folder, or as data.yaml of YOLO says."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataloader.sources.folders import image_files, is_image_name, split_folders
from dataloader.sources.mask_layouts import IMAGE_FOLDERS, LIST_FOLDERS, SPLITS, Pairs, find_pairs
from utils.errors import UserError

# Siblings of a folder of images that show that the data begins one folder above.
_BESIDE_IMAGES = ("labels", "annotations", "boxes")
_MAIN_LISTS = ("ImageSets/Main", *LIST_FOLDERS)
# Text files that are not those of an image.
_OTHER_TEXTS = frozenset({"classes", "labels", "names", "train", "val", "valid", "test", "trainval", "readme"})


def find_box_root(root: Path) -> Path:
    """Return the folder that holds images and boxes: `root`, or the one above where `root` is that of the images."""
    if root.name.lower() not in IMAGE_FOLDERS:
        return root
    beside = {entry.name.lower() for entry in root.absolute().parent.iterdir() if entry.is_dir()}
    return root.absolute().parent if beside.intersection(_BESIDE_IMAGES) else root


def find_box_pairs(root: Path, suffix: str) -> Pairs | None:
    """Return images with their files of boxes, of one suffix; None where there are no such files.

    Raises:
        UserError: a list names an image that is not there.
    """
    pairs = find_pairs(root, (suffix,), _MAIN_LISTS)
    if pairs is None or not pairs.files:
        pairs = _beside(root, suffix)
    return pairs if pairs.files else None


def _beside(root: Path, suffix: str) -> Pairs:
    """Return images whose files of boxes lie in the folders of the images."""
    folders = split_folders(root)
    places = [(split, f"{name}/") for split, name in folders.items()] or [("", "")]
    images, files, alone = {}, {}, []
    for split, front in places:
        folder = root / front
        texts = {file.relative_to(root).as_posix() for file in folder.rglob(f"*{suffix}") if file.name[0] != "."}
        images[split] = image_files(folder, front) if texts else []
        for path in images[split]:
            own = path.rpartition(".")[0] + suffix
            if own in texts:
                files[path] = own
                texts.discard(own)
        alone += [name for name in texts if Path(name).stem.lower() not in _OTHER_TEXTS]
    return Pairs(root, images, files, (root,), tuple(sorted(alone)))


@dataclass(frozen=True)
class YoloYaml:
    """What data.yaml says.

    Attributes:
        file: it.
        names: class in the text files -> name.
        places: split -> folders of images, and lists of them, as written.
        base: that these start from.
    """

    file: Path
    names: Mapping[int, str]
    places: Mapping[str, Sequence[str]]
    base: Path


def find_yaml(root: Path) -> YoloYaml | None:
    """Return the data.yaml of a folder: the first file of this suffix that names classes; None without one."""
    for file in sorted((*root.glob("*.yaml"), *root.glob("*.yml"))):
        found = read_yaml(file)
        if found is not None:
            return found
    return None


def read_yaml(file: Path) -> YoloYaml | None:
    """Return what a file says; None where it names no classes.

    Raises:
        UserError: it cannot be read, or its classes are not numbered.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {file}: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if not names or not isinstance(names, dict | list):
        return None
    try:
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        numbered = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: names has keys that are no numbers: {error}") from error
    if doubled := [name for name in numbered.values() if list(numbered.values()).count(name) > 1]:
        raise UserError(f"{file}: two classes are called {doubled[0]}; name them differently")
    places = {split: _several(content.get(key)) for split, keys in _KEYS.items() for key in keys if content.get(key)}
    own = Path(str(content.get("path") or ".")).expanduser()
    base = file.parent / own
    # A path of another machine, which the file was written on.
    return YoloYaml(file, dict(sorted(numbered.items())), places, base if base.is_dir() else file.parent)


_KEYS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def _several(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def pairs_of_yaml(found: YoloYaml) -> Pairs:
    """Return the images that a data.yaml names, with their text files.

    A text file lies beside its image, or where the last folder of the path that is called images is called labels.

    Raises:
        UserError: a folder, a list, or an image of a list is not there.
    """
    images: dict[str, list[Path]] = {}
    folders: list[Path] = []
    for split in (split for split in SPLITS if split in found.places):
        for written in found.places[split]:
            place = _place(found, split, written)
            if place.is_dir():
                folders.append(place)
                images.setdefault(split, []).extend(place / name for name in image_files(place))
            else:
                images.setdefault(split, []).extend(_listed(place))
    everything = [file for members in images.values() for file in members]
    root = Path(os.path.commonpath([found.file.parent.resolve(), *{file.parent for file in everything}]))
    paths = {split: sorted({file.relative_to(root).as_posix() for file in members}) for split, members in images.items()}
    files = {}
    for path in dict.fromkeys(path for members in paths.values() for path in members):
        own = next((text for text in (_label_of(path), path.rpartition(".")[0] + ".txt") if (root / text).is_file()), None)
        if own is not None:
            files[path] = own
    return Pairs(root, paths, files, tuple(dict.fromkeys((root / text).parent for text in files.values())), tuple(_alone(root, folders)))


def _label_of(path: str) -> str:
    """Return images/train/a.jpg as labels/train/a.txt."""
    *folders, name = path.split("/")
    last = max((place for place, folder in enumerate(folders) if folder.lower() == "images"), default=None)
    if last is not None:
        folders[last] = "labels"
    return "/".join((*folders, f"{name.rpartition('.')[0]}.txt"))


def _place(found: YoloYaml, split: str, written: str) -> Path:
    """Return the folder or the list of a split.

    Raises:
        UserError: it is not there.
    """
    # Roboflow writes ../train/images for what lies beside data.yaml.
    for place in (found.base / written, found.base / written.removeprefix("../"), found.file.parent / written):
        if place.exists():
            return place.resolve()
    raise UserError(f"{found.file}: {split}: {written} is not there, looked for in {found.base}; mend the path")


def _listed(file: Path) -> Iterator[Path]:
    """Yield the images of a list, a path a line.

    Raises:
        UserError: it cannot be read, or an image is not there.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    for number, line in enumerate(lines, start=1):
        if name := line.strip():
            image = file.parent / name
            if not image.is_file():
                raise UserError(f"{file}, line {number}: there is no image {name}; mend the line, or remove it")
            yield image.resolve()


def _alone(root: Path, folders: Sequence[Path]) -> list[str]:
    """Return the text files that belong to no image of some folders, which are read as a whole."""
    found = []
    for folder in folders:
        inside = folder.relative_to(root).as_posix()
        texts = root / _label_of(f"{inside}/x.jpg").rpartition("/")[0]
        if texts == folder or not texts.is_dir():
            continue
        stems = {name.rpartition(".")[0] for name in image_files(folder) if is_image_name(Path(name).name)}
        below = (file.relative_to(texts).as_posix() for file in texts.rglob("*.txt"))
        found += [(texts / name).relative_to(root).as_posix() for name in below if name.removesuffix(".txt") not in stems]
    return sorted(set(found))
