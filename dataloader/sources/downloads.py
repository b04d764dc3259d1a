"""Public data sets by name: downloaded through torchvision once, and written as ordinary folders of classes."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dataloader.sources.folders import is_image_name
from utils.errors import UserError
from utils.files import locked
from utils.logs import log
from utils.progress_bar import progress_bar
from utils.randomness import Stream, shuffled

VAL_SHARE = 0.1
TEST_SHARE = 0.2
TRAIN_TEST = MappingProxyType({"train": {"train": True}, "test": {"train": False}})
SPLIT_TRAIN_TEST = MappingProxyType({"train": {"split": "train"}, "test": {"split": "test"}})
SPLIT_ALL = MappingProxyType({**SPLIT_TRAIN_TEST, "val": {"split": "val"}})


class DownloadedImage(NamedTuple):
    """One image of a downloaded data set.

    Attributes:
        open: returns it as a PIL image.
        file: its path; None where it has no file that can be used as it is.
        name: of the file to be written, without suffix.
        target: number of its class.
    """

    open: Callable[[], Any]
    file: Path | None
    name: str
    target: int


@dataclass(frozen=True)
class Download:
    """A data set of torchvision, written as {train,val,test}/<class>/NAME at the first call.

    Where the publisher has no validation images, a tenth of the training images of every class is held out; where there are
    no test images, a fifth. The choice never changes.

    Attributes:
        name: of the folder.
        dataset: class in torchvision.datasets.
        parts: split -> arguments of the class.
        archives: the files that it downloads, below the folder of downloads.
        listed: attributes of the class that hold (path, target) pairs, or paths and targets; none for arrays of pixels.
        classes: names of the classes, for sets whose class in torchvision does not have them.
        options: further arguments of the class.
    """

    name: str
    dataset: str
    parts: Mapping[str, Mapping[str, Any]]
    archives: str
    listed: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, home: Path) -> Path:
        """Return the folder of the data set under `home`.

        Raises:
            UserError: it cannot be downloaded or written.
        """
        folder = home / self.name
        if folder.is_dir():
            return folder
        lock = home / f".{self.name}.lock"
        try:
            home.mkdir(parents=True, exist_ok=True)
            # One of several training processes writes, and the others wait for it.
            with locked(lock, wait=lambda: log().info(f"data      another process is writing {folder}; waiting for it")):
                if not folder.is_dir():
                    self._write(folder, home / f".{self.name}-download")
        except OSError as error:
            raise UserError(f"cannot write {self.name} to {folder}: {error.strerror or error}") from error
        finally:
            lock.unlink(missing_ok=True)
        return folder

    def _write(self, folder: Path, raw: Path) -> None:
        opened = {split: self._open(raw, arguments) for split, arguments in self.parts.items()}
        temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            for split, pictures in with_all_splits({split: list(_pictures(part, self.listed)) for split, part in opened.items()}).items():
                names = self.classes or class_names(opened["train"].classes)
                _write_split(pictures, names, temporary / split, what=f"{self.name} {split}")
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(raw, ignore_errors=True)

    def _open(self, raw: Path, arguments: Mapping[str, Any]) -> Any:
        from torchvision import datasets

        try:
            raw.mkdir(parents=True, exist_ok=True)
            return getattr(datasets, self.dataset)(str(raw), download=True, **arguments, **self.options)
        except Exception as error:  # A failed download raises errors of many types.
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            remedy = f"check the network, or put {self.archives} into {raw} and try again"
            raise UserError(f"--data {self.name} cannot be downloaded ({reason}): {remedy}") from error


def class_names(names: Sequence[str | tuple[str, ...]]) -> tuple[str, ...]:
    """Return names that can be folders: the first of several names of a class, without slashes."""
    return tuple((name if isinstance(name, str) else name[0]).replace("/", "-").strip() for name in names)


def with_all_splits(parts: Mapping[str, list[DownloadedImage]]) -> dict[str, list[DownloadedImage]]:
    """Return train, val and test; missing ones are held out of train, class by class."""
    shares = {split: share for split, share in (("val", VAL_SHARE), ("test", TEST_SHARE)) if split not in parts}
    members: dict[int, list[DownloadedImage]] = {}
    for picture in parts["train"]:
        members.setdefault(picture.target, []).append(picture)
    found = {**parts, "train": [], **{split: [] for split in shares}}
    for target, pictures in sorted(members.items()):
        order = shuffled(len(pictures), Stream.SPLIT, target).tolist()
        first = 0
        for split, share in shares.items():
            last = first + max(1, round(len(pictures) * share))
            found[split] += [pictures[index] for index in order[first:last]]
            first = last
        found["train"] += [pictures[index] for index in sorted(order[first:])]
    return found


def _pictures(part: Any, listed: tuple[str, ...]) -> Iterator[DownloadedImage]:
    """Yield the images of a data set of torchvision, in its order."""
    if not listed:
        for index in range(len(part)):
            # Opened later, so that not all images are in memory at once.
            yield DownloadedImage(lambda index=index: part[index][0], None, f"{index:06d}", int(part[index][1]))
        return
    columns = [getattr(part, name) for name in listed]
    pairs = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
    for index, (path, target) in enumerate(pairs):
        file = Path(path) if is_image_name(Path(path).name) else None
        # Numbered, since files of one class may come from several folders.
        yield DownloadedImage(lambda index=index: part[index][0], file, f"{index:06d}", int(target))


def _write_split(pictures: Sequence[DownloadedImage], names: Sequence[str], folder: Path, *, what: str) -> None:
    for target in sorted({picture.target for picture in pictures}):
        (folder / names[target]).mkdir(parents=True)
    with progress_bar(what, len(pictures)) as advance:
        for picture in pictures:
            place = folder / names[picture.target]
            if picture.file is None:
                picture.open().save(place / f"{picture.name}.png")
            else:
                _link(picture.file, place / f"{picture.name}{picture.file.suffix.lower()}")
            advance(1)


def _link(source: Path, destination: Path) -> None:
    """Hard-link a file to a second name; the downloads are removed afterwards."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def numbers(count: int) -> tuple[str, ...]:
    """Return names of classes that have none: numbers of equal width."""
    return tuple(f"{number:0{len(str(count - 1))}d}" for number in range(count))


CIFAR10 = Download("cifar10", "CIFAR10", TRAIN_TEST, "cifar-10-python.tar.gz")
CIFAR100 = Download("cifar100", "CIFAR100", TRAIN_TEST, "cifar-100-python.tar.gz")
MNIST = Download("mnist", "MNIST", TRAIN_TEST, "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", classes=numbers(10))
FASHION_MNIST = Download("fashion_mnist", "FashionMNIST", TRAIN_TEST, "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz")
KMNIST = Download("kmnist", "KMNIST", TRAIN_TEST, "KMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz")
SVHN = Download("svhn", "SVHN", SPLIT_TRAIN_TEST, "train_32x32.mat and test_32x32.mat", classes=numbers(10))
STL10 = Download("stl10", "STL10", SPLIT_TRAIN_TEST, "stl10_binary.tar.gz")
IMAGENETTE = Download(
    "imagenette",
    "Imagenette",
    {"train": {"split": "train"}, "test": {"split": "val"}},
    "imagenette2-320.tgz",
    ("_samples",),
    options={"size": "320px"},
)
FLOWERS102 = Download(
    "flowers102",
    "Flowers102",
    SPLIT_ALL,
    "flowers-102/{102flowers.tgz,imagelabels.mat,setid.mat}",
    ("_image_files", "_labels"),
)
FOOD101 = Download("food101", "Food101", SPLIT_TRAIN_TEST, "food-101.tar.gz", ("_image_files", "_labels"))
OXFORD_PETS = Download(
    "oxford_pets",
    "OxfordIIITPet",
    {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "oxford-iiit-pet/{images,annotations}.tar.gz",
    ("_images", "_labels"),
)
DTD = Download("dtd", "DTD", SPLIT_ALL, "dtd/dtd-r1.0.1.tar.gz", ("_image_files", "_labels"))
EUROSAT = Download("eurosat", "EuroSAT", {"train": {}}, "eurosat/EuroSAT.zip", ("samples",))
GTSRB = Download(
    "gtsrb",
    "GTSRB",
    SPLIT_TRAIN_TEST,
    "gtsrb/{GTSRB-Training_fixed,GTSRB_Final_Test_Images,GTSRB_Final_Test_GT}.zip",
    ("_samples",),
    classes=numbers(43),
)
FGVC_AIRCRAFT = Download("fgvc_aircraft", "FGVCAircraft", SPLIT_ALL, "fgvc-aircraft-2013b.tar.gz", ("_image_files", "_labels"))
