"""Folders of class folders, and the images in them."""

import os
from pathlib import Path

from dataloader.sources.scan_memory import FolderNames, ScanMemory
from utils.errors import UserError
from utils.logs import log

SUFFIXES = frozenset({"jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff"})
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image: a known suffix in upper or lower case, not hidden."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and suffix.lower() in SUFFIXES


class ClassFolders:
    """The real paths of the class folders of a split, so that no link gives images per second class."""

    def __init__(self) -> None:
        self._at: dict[str, str] = {}
        self._above: dict[str, str] = {}

    def add(self, name: str, place: str) -> None:
        """Record the real path of the folder of a class."""
        self._at[place] = name
        for parent in Path(place).parents:
            self._above.setdefault(str(parent), name)

    def other(self, target: str, name: str) -> str | None:
        """Return another class than `name` whose images are in the target of a link, a real path; None if there is none."""
        if target in self._above:
            return self._above[target]
        known = (self._at.get(str(place)) for place in (target, *Path(target).parents))
        return next((each for each in known if each is not None and each != name), None)


def subfolders(folder: Path | str, *, named: bool = False) -> list[str]:
    """Return the sorted names of the visible folders in `folder`; links to a parent folder are left out, with a warning if `named`."""
    return sorted(entry.name for entry in _entries(folder) if not entry.name.startswith(".") and _is_folder(entry, named=named))


def split_folders(root: Path) -> dict[str, str]:
    """Return split name -> folder name for those of train, val and test that `root` holds.

    'valid' and 'validation' mean val; case does not matter.

    Raises:
        UserError: two folders mean one split.
    """
    found: dict[str, str] = {}
    for name in subfolders(root):
        split = SPLIT_FOLDERS.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise UserError(f"{root} holds both {found[split]}/ and {name}/: keep one of them")
        found[split] = name
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def scan_classes(folder: Path, prefix: str = "") -> dict[str, list[str]]:
    """Return class name -> sorted image paths, for the class folders of `folder`.

    Paths are POSIX, relative to `folder`, with `prefix` in front. Empty class folders are kept, so that the
    caller can report them. Large folders are cached in the user's cache, by the modification times of the folders.
    """
    names, classes = subfolders(folder, named=True), ClassFolders()
    links = {name for name in names if (folder / name).is_symlink()}
    # Folders first: they keep their images, even if links lead there.
    for name in sorted(names, key=links.__contains__):
        place = os.path.realpath(folder / name)
        if name in links and _is_taken(str(folder / name), place, name, classes):
            names.remove(name)
        else:
            classes.add(name, place)
    memory = ScanMemory(folder)
    found = {name: image_files(folder / name, f"{prefix}{name}/", memory=memory, classes=(name, classes)) for name in names}
    memory.save()
    return found


def _is_taken(link: str, target: str, name: str, classes: ClassFolders) -> bool:
    """Whether a link below class `name` leads to images of another class; logs a warning then."""
    other = classes.other(target, name)
    if other is not None:
        log().warning(f"{link} is a link to {target}, where images of the class {other} lie; it is not followed")
    return other is not None


def image_files(
    folder: Path | str, prefix: str = "", *, memory: ScanMemory | None = None, classes: tuple[str, ClassFolders] | None = None
) -> list[str]:
    """Return the sorted paths of all images under `folder`, at any depth, with `prefix` in front.

    Hidden files and folders do not count, a folder reached twice through links counts once, and links to images of another class
    are not followed.

    Args:
        folder: where to look.
        prefix: of the paths.
        memory: of earlier scans.
        classes: the class of these images, and where all class folders lie.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [(os.fspath(folder), prefix)]
    while pending:
        place, front = pending.pop()
        try:
            status = os.stat(place)
        except OSError as error:
            raise UserError(f"cannot read the folder {place}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        names = _names(place, status.st_mtime_ns, memory, classes)
        found += [front + name for name in names.images]
        # Names in order, so that which of two links wins does not depend on the file system.
        pending += [(os.path.join(place, name), f"{front}{name}/") for name in reversed(names.folders)]
    return sorted(found)


def _names(place: str, changed_ns: int, memory: ScanMemory | None, classes: tuple[str, ClassFolders] | None) -> FolderNames:
    """Return the sorted names of the visible folders, and of the images, in a folder."""
    known = memory.recall(place, changed_ns) if memory is not None else None
    if known is not None:
        return known
    names = FolderNames([], [])
    links = False
    for entry in _entries(place):
        if entry.name.startswith("."):
            continue
        links = links or entry.is_symlink()
        if _is_folder(entry, named=True):
            if classes is None or not entry.is_symlink() or not _is_taken(entry.path, os.path.realpath(entry.path), *classes):
                names.folders.append(entry.name)
        elif is_image_name(entry.name):
            names.images.append(entry.name)
    names.folders.sort()
    names.images.sort()
    # The target of a link may change without changing this folder's time.
    if memory is not None and not links:
        memory.keep(place, changed_ns, names)
    return names


def _is_folder(entry: os.DirEntry[str], *, named: bool) -> bool:
    """Whether to look for images below an entry; a link to a parent folder is not followed, with a warning if `named`."""
    try:
        if not entry.is_dir():
            return False
    except OSError:
        # A link to itself is not a folder; if it has an image's name, reading it will report it.
        return False
    if entry.is_symlink() and _leads_back(entry.path):
        # Its images have a class already, and would get this one, too.
        if named:
            log().warning(f"{entry.path} is a link to {os.path.realpath(entry.path)}, in which it lies; it is not followed")
        return False
    return True


def _leads_back(link: str) -> bool:
    """Whether a link leads to a folder that it lies in."""
    target, place = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
    return os.path.commonpath([target, place]) == target


def has_images(folder: Path) -> bool:
    """Whether images lie directly in `folder`."""
    return any(is_image_name(entry.name) for entry in _entries(folder))


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
