"""Data sets by name, with small stand-ins for those of torchvision; no test uses the network."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from dataloader import SOURCES
from dataloader.opening.open_catalog import open_catalog
from dataloader.sources.downloads import Download, class_names, numbers
from utils.errors import UserError

DOWNLOADS = {name: source for name, source in ((name, SOURCES.resolve(name)) for name in SOURCES) if isinstance(source, Download)}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", DOWNLOADS)
@pytest.mark.usefixtures("fake_downloads")
def test_a_set_is_written_once_whole_and_in_all_splits(name, tmp_path, monkeypatch):
    source = DOWNLOADS[name]
    folder = source(tmp_path)
    assert folder == tmp_path / name
    assert {path.name for path in tmp_path.iterdir()} == {name}, "nothing of the download is left"
    catalog = open_catalog(str(folder))
    assert set(catalog.classes) == set((source.classes or ("first", "a-b", "third"))[:3])
    parts = [6 if split in source.parts else None for split in ("val", "test")]
    held_out = [(count or 3 * round(12 * share)) for count, share in zip(parts, (0.1, 0.2), strict=True)]
    train = 36 - sum(count for count, part in zip(held_out, parts, strict=True) if part is None)
    assert [len(catalog.splits[split]) for split in ("train", "val", "test")] == [train, *held_out]
    before = files(folder)
    monkeypatch.setattr(datasets, source.dataset, None)
    assert source(tmp_path) == folder
    assert files(folder) == before


@pytest.mark.usefixtures("fake_downloads")
def test_pixels_are_those_of_the_source_and_files_are_kept_as_they_are(tmp_path):
    for name, suffix in (("cifar10", "png"), ("food101", "jpeg"), ("gtsrb", "png")):
        folder = DOWNLOADS[name](tmp_path)
        place = next(folder.rglob(f"test/*/000004.{suffix}"))
        pixels = np.random.default_rng([6, 4]).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        if suffix == "png":
            assert np.array_equal(np.asarray(Image.open(place)), pixels)
        else:
            Image.fromarray(pixels).save(tmp_path / "x.jpeg")
            assert place.read_bytes() == (tmp_path / "x.jpeg").read_bytes()


@pytest.mark.parametrize("name", DOWNLOADS)
def test_torchvision_has_what_the_row_names(name):
    source = DOWNLOADS[name]
    kind = getattr(datasets, source.dataset)
    text = inspect.getsource(inspect.getmodule(kind))
    parameters = {name for each in kind.__mro__ for name in inspect.signature(each.__init__).parameters}
    assert all(f"self.{attribute}" in text or attribute == "samples" for attribute in source.listed)
    assert "classes" in text or issubclass(kind, datasets.ImageFolder) or source.classes
    assert {"download", *source.options, *(key for part in source.parts.values() for key in part)} <= parameters


def test_without_a_network_a_line_says_what_to_put_where(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Error downloading:\nTried https://x")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(UserError) as caught:
        open_catalog("cifar10", home=tmp_path / "data")
    message = str(caught.value)
    assert "cannot be downloaded (Error downloading: Tried https://x): check the network" in message
    assert f"put cifar-10-python.tar.gz into {tmp_path}/data/.cifar10-download and try again" in message
    assert "\n" not in message
    assert not (tmp_path / "data" / "cifar10").exists()


@pytest.mark.usefixtures("fake_downloads")
def test_an_interruption_leaves_no_half_written_set_and_keeps_the_download(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            DOWNLOADS["cifar10"](tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".cifar10-download"}
    assert len(files(DOWNLOADS["cifar10"](tmp_path))) == 42


def test_a_download_that_was_put_in_place_by_hand_is_taken(tmp_path, write_images):
    """The real class of torchvision, which finds its files where the message says."""
    write_images(tmp_path / ".eurosat-download" / "eurosat" / "2750", {"Forest": 10, "River": 10})
    catalog = open_catalog("eurosat", home=tmp_path)
    assert catalog.classes == ("Forest", "River")
    assert {name: len(split) for name, split in catalog.splits.items()} == {"train": 14, "val": 2, "test": 4}
    assert {path.name for path in tmp_path.iterdir()} == {"eurosat"}


def test_names_of_classes_can_be_folders():
    assert class_names(["T-shirt/top", ("tench", "Tinca tinca")]) == ("T-shirt-top", "tench")
    assert numbers(3) == ("0", "1", "2")
    assert numbers(43)[0] == "00"
