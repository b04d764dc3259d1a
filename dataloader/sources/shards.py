"""WebDataset shards: tar archives of images and labels, read in any order, so that they shuffle and resume like files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataloader.sources.folders import SPLIT_FOLDERS, split_folders, subfolders
from dataloader.sources.label_names import LabelNames, find_label_names
from dataloader.sources.lists import ListedImage, Listing, name_labels, refuse_empty_labels
from dataloader.sources.tar_index import TarIndex, index_tar
from dataloader.splits.split import Stamp
from utils.errors import UserError
from utils.logs import log
from utils.text import counted

SUFFIX = ".tar"
MANIFEST = "manifest.json"
MANY_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class ShardStore:
    """Reads images from archives.

    Attributes:
        indexes: path of an archive -> the places of its images.
    """

    indexes: Mapping[str, TarIndex]

    def read_bytes(self, file: str) -> bytes:
        """Return the bytes of an image that is named ARCHIVE.tar/MEMBER."""
        archive, member = self._parts(file)
        return self.indexes[archive].read(archive, member)

    def stamp(self, file: str) -> Stamp:
        """Return the size of an image, and the modification time of its archive when it was indexed."""
        archive, member = self._parts(file)
        index = self.indexes[archive]
        return Stamp(int(index.sizes[index.place(member)]), index.stamp[0])

    def _parts(self, file: str) -> tuple[str, str]:
        end = file.index(f"{SUFFIX}/") + len(SUFFIX)
        while file[:end] not in self.indexes:
            end = file.index(f"{SUFFIX}/", end) + len(SUFFIX)
        return file[:end], file[end + 1 :]


def is_shard_name(data: str) -> bool:
    """Whether `data` names archives: one, or several as a pattern such as train-{000000..000012}.tar."""
    return data.endswith(SUFFIX)


def expand(pattern: str) -> list[Path]:
    """Return the archives that a pattern with braces names, in its order.

    Raises:
        UserError: one of them does not exist.
    """
    from braceexpand import braceexpand

    try:
        files = [Path(name).expanduser() for name in braceexpand(pattern)]
    except ValueError as error:
        raise UserError(f"--data {pattern}: the braces are not balanced; write such as train-{{000000..000012}}.tar") from error
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"--data {pattern}: there is no file {missing[0]}" + (f", nor {len(missing) - 1} more" if missing[1:] else ""))
    return files


def find_shards(root: Path) -> list[Path]:
    """Return the sorted archives of a folder, or of its train/, val/ and test/; none where it holds folders of classes."""
    own = _archives(root)
    if own:
        return own if not subfolders(root) else []
    folders = [root / name for name in split_folders(root).values()]
    return [file for folder in folders if not subfolders(folder) for file in _archives(folder)]


def read_shards(root: Path, files: list[Path]) -> Listing:
    """Read the listing of archives; an archive belongs to the split that its name, or its folder, begins with.

    Numbered labels get the names of manifest.json, categories.csv or labels.txt next to the archives, if there are any.

    Raises:
        UserError: an archive or a sample cannot be used, or only some of the archives name a split.
    """
    splits = {file: _split_of(file, root) for file in files}
    unknown = [file for file, split in splits.items() if split is None]
    if unknown and len(unknown) < len(files):
        raise UserError(f"{unknown[0]} is not train, val or test, as other archives here are; rename it or move it away")
    if sum(file.stat().st_size for file in files) > MANY_BYTES:
        log().info(f"shards    {counted(len(files), 'archive')}; indexing each takes a while, once")
    indexes: dict[str, TarIndex] = {}
    images: list[ListedImage] = []
    multi_label = False
    for file in files:
        indexes[str(file)], members = index_tar(file)
        front = file.relative_to(root).as_posix()
        multi_label = multi_label or any(member.multi_label for member in members)
        images += [
            ListedImage(f"{front}/{member.name}", member.labels, splits[file], f"{file}/{member.name}", member.group) for member in members
        ]
    refuse_empty_labels(images, multi_label=multi_label)
    return Listing(root, tuple(name_labels(images, _names(root))), multi_label, ShardStore(indexes))


def _archives(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if file.is_file() and not file.name.startswith("."))


def _split_of(file: Path, root: Path) -> str | None:
    """Return the split that the first word of the name, or else of the folder, means."""
    word = re.split(r"[^a-z]", file.name.lower(), maxsplit=1)[0]
    folder = file.parent.name.lower() if file.parent != root else ""
    return SPLIT_FOLDERS.get(word) or SPLIT_FOLDERS.get(folder)


def _names(root: Path) -> LabelNames | None:
    file = root / MANIFEST
    if not file.is_file():
        return find_label_names(root)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("complete") is False:
            raise UserError(f"{root} is not finished: run the same --shard again")
        classes = content["classes"]
        return LabelNames(file, dict(enumerate(map(str, classes))))
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a manifest of shards with a list of 'classes'; write them again with --shard, or remove it"
        ) from error
