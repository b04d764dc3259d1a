import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dataloader.augment.chain import build_augment
from dataloader.cache import decoded, wait_for_cache
from dataloader.cache.decoded import (
    CacheFill,
    CachePolicy,
    cache_name,
    keep_in_memory,
    keep_on_disk,
    part_of,
    pooled,
    reduce_image,
)
from dataloader.cache.pixel_store import PixelStore
from dataloader.images.picture import Picture, whole
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.loader import Loader
from dataloader.splits.split import Split
from utils.errors import UserError
from utils.text import say_bytes

PREPROCESS = Preprocess(image_size=(6, 8))
FITTED = CachePolicy(fitted=PREPROCESS)


def job(split: Split, keep: CachePolicy = FITTED, *, workers: int = 0) -> CacheFill:
    return CacheFill(split, keep, workers, advance=lambda _: None)


def on_disk(split: Split, folder: Path, keep: CachePolicy = FITTED, *, workers: int = 0):
    return keep_on_disk(job(split, keep, workers=workers), folder, cache_name(split, keep))


def batches(split: Split, read: Callable | None, *, workers: int = 0, **options) -> list[torch.Tensor]:
    settings = {"batch_size": 4, "seed": 3, "shuffle": False} | options
    loader = Loader(split, PREPROCESS, workers=workers, read=read, **settings)
    images = [batch.images.clone() for epoch in (0, 1) for batch in loader.batches(epoch)]
    loader.close()
    return images


@pytest.fixture
def mixed(tmp_path: Path) -> Split:
    """Return a split of images of three sizes and kinds."""
    rng = np.random.default_rng(0)
    paths = []
    for number, (size, suffix) in enumerate([((9, 14), "jpg"), ((30, 12), "png"), ((6, 8), "png"), ((25, 40), "jpg"), ((4, 3), "bmp")]):
        paths.append(f"ü {number}.{suffix}")
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / paths[-1])
    return Split("train", tmp_path, tuple(paths), np.arange(len(paths), dtype=np.int64) % 2)


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_the_same_pixels_with_and_without_a_cache(mixed, tmp_path, kind, workers):
    store = keep_in_memory(job(mixed, workers=workers)) if kind == "ram" else on_disk(mixed, tmp_path / "cache", workers=workers)
    plain = batches(mixed, None)
    assert all(map(torch.equal, plain, batches(mixed, store.read_picture)))
    assert all(map(torch.equal, plain, batches(mixed, store.read_picture, workers=1)))
    assert store.nbytes == len(mixed) * 6 * 8 * 3


def test_augmented_training_sees_the_same_pixels_where_nothing_had_to_be_reduced(mixed, tmp_path):
    store = on_disk(mixed, tmp_path / "cache", CachePolicy(shorter=25))
    options = {"shuffle": True, "augment": build_augment("flip|crop|color")}
    assert all(map(torch.equal, batches(mixed, None, **options), batches(mixed, store.read_picture, **options)))


def test_an_image_is_reduced_by_its_shorter_side_and_never_enlarged():
    image = np.random.default_rng(0).integers(0, 256, (90, 41, 3), dtype=np.uint8)
    assert reduce_image(image, 20).shape == (44, 20, 3)
    assert reduce_image(image.transpose(1, 0, 2), 20).shape == (20, 44, 3)
    assert reduce_image(image, 41) is image
    assert abs(float(reduce_image(image, 20).mean()) - image.mean()) < 1


def test_a_cache_is_found_again_without_decoding(mixed, tmp_path, monkeypatch):
    first = on_disk(mixed, tmp_path / "cache")
    monkeypatch.setattr(decoded, "fill", None)
    again = on_disk(mixed, tmp_path / "cache")
    assert all(np.array_equal(first.read(index), again.read(index)) for index in range(len(mixed)))


def test_a_changed_file_makes_a_new_cache_in_place_of_the_old_one(mixed, tmp_path):
    folder = tmp_path / "cache"
    on_disk(mixed, folder)
    other = on_disk(mixed, folder, CachePolicy(shorter=25))
    Image.new("RGB", (6, 8), "red").save(mixed.file(2))
    store = on_disk(mixed, folder)
    assert np.array_equal(store.read(2), FITTED.read_picture(mixed, 2).image)
    # The cache in another geometry is not this one's to judge.
    assert sorted(str(path) for path in folder.glob("[!.]*")) == sorted([str(Path(store.place).parent), str(Path(other.place).parent)])


def test_geometry_reading_and_images_have_caches_of_their_own(mixed):
    keeps = [
        FITTED,
        CachePolicy(fitted=Preprocess((8, 6))),
        CachePolicy(fitted=Preprocess((6, 8), "crop")),
        CachePolicy(shorter=8),
        CachePolicy(shorter=8, at_least=16),
    ]
    fewer = Split("train", mixed.root, mixed.paths[1:], mixed.targets[1:])
    names = [cache_name(mixed, keep) for keep in keeps] + [cache_name(fewer, FITTED)]
    assert len({name.rpartition("-")[0] for name in names}) == len(names)
    assert cache_name(mixed, CachePolicy(fitted=Preprocess((6, 8), mean=(0.0, 0.0, 0.0)))) == names[0], "normalization moves no pixel"


def test_a_damaged_cache_and_a_killed_attempt_are_made_anew(mixed, tmp_path):
    folder = tmp_path / "cache"
    place = Path(on_disk(mixed, folder).place)
    os.truncate(place, 10)
    attempt = folder / f".{cache_name(mixed, FITTED)}.building"
    attempt.mkdir()
    assert np.array_equal(on_disk(mixed, folder).read(3), FITTED.read_picture(mixed, 3).image)
    assert not attempt.exists()


@pytest.mark.parametrize("root", [".hidden", "a.b-c", "..", "ü.d"])
def test_older_states_of_folders_of_any_name_are_removed(tmp_path, write_images, root, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_images(Path(root), {"train": 2})
    split = Split("train", Path(root), ("train/000.png", "train/001.png"), np.arange(2))
    on_disk(split, tmp_path / "cache")
    os.utime(split.file(0), (1, 1))
    attempt = tmp_path / "cache" / f".{cache_name(split, FITTED)}.building"
    attempt.mkdir()
    store = on_disk(split, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [Path(store.place).parent]
    assert not Path(store.place).parent.name.startswith(".")


def _folded(split: Split, mine: list[int]) -> Split:
    """Return some images of a split as the training images of a fold of all."""
    paths = tuple(split.paths[index] for index in mine)
    return Split("train", split.root, paths, split.targets[mine], pool=tuple(sorted(split.paths)))


def test_folds_share_one_cache_and_read_their_own_images(mixed, tmp_path, monkeypatch):
    Path(mixed.file(2)).write_bytes(b"spoilt")
    folds = [_folded(mixed, mine) for mine in ([0, 2, 3], [4, 1, 2])]
    assert len({cache_name(pooled(fold), FITTED) for fold in folds}) == 1
    for number, fold in enumerate(folds):
        store = part_of(on_disk(pooled(fold), tmp_path / "cache"), fold)
        monkeypatch.setattr(decoded, "fill", None)
        assert len(store) == len(fold)
        spoilt = 1 if number == 0 else 2
        assert list(store.unreadable) == [spoilt]
        for index in {0, 1, 2} - {spoilt}:
            assert np.array_equal(store.read(index), FITTED.read_picture(fold, index).image)
        loader = Loader(fold, PREPROCESS, workers=1, read=store.read_picture, batch_size=3, seed=0, shuffle=True)
        (batch,) = loader.batches(0)
        assert batch.unreadable[0].path == mixed.file(2)
        loader.close()


def test_images_of_no_fold_have_a_cache_of_their_own(mixed, tmp_path):
    assert pooled(mixed) is mixed
    store = on_disk(mixed, tmp_path / "cache")
    assert part_of(store, mixed) is store


def _hang(split: Split, folder: Path) -> None:
    """Begin to fill a cache, and stop in the middle."""
    CachePolicy.read_picture = lambda *_: time.sleep(600)  # pyright: ignore[reportAttributeAccessIssue]
    CacheFill.estimate_bytes = lambda _: 0  # pyright: ignore[reportAttributeAccessIssue]
    on_disk(split, folder)


def test_a_process_that_hangs_is_named_and_one_that_ends_is_replaced(mixed, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    builder = multiprocessing.get_context("fork").Process(target=_hang, args=(mixed, folder))
    builder.start()
    while not list(folder.glob(".*.building/builder.txt")):
        time.sleep(0.05)
    monkeypatch.setattr(wait_for_cache, "PATIENCE", 0.2)
    monkeypatch.setattr(wait_for_cache, "POLL", 0.05)
    said: list[str] = []

    def warn(line: str) -> None:
        said.append(line)
        builder.kill()

    monkeypatch.setattr(wait_for_cache, "log", lambda: SimpleNamespace(info=said.append, warning=warn))
    store = on_disk(mixed, folder)
    builder.join()
    assert np.array_equal(store.read(2), FITTED.read_picture(mixed, 2).image)
    assert said[0] == "cache     another process is filling it; waiting"
    assert f"process {builder.pid} on " in said[1]
    assert "has written nothing for 0 s; if it hangs, end it" in said[1]
    assert sorted(path.name for path in Path(store.place).parent.iterdir()) == ["facts.json", "index.npy", "pixels.bin", "planes.npy"]


def _fill_slowly(split: Split, folder: Path, log: Path) -> None:
    original = CachePolicy.read_picture

    def read(self: CachePolicy, split: Split, index: int) -> Picture:
        with log.open("a") as file:
            file.write(f"{index}\n")
        return original(self, split, index)

    CachePolicy.read_picture = read  # pyright: ignore[reportAttributeAccessIssue]
    on_disk(split, folder)


def test_two_processes_that_want_the_same_cache_make_it_once(mixed, tmp_path):
    fork = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    processes = [fork.Process(target=_fill_slowly, args=(mixed, tmp_path / "cache", log)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0]
    # Once to foretell the size, once to fill.
    assert sorted(log.read_text().split()) == sorted(2 * [str(index) for index in range(len(mixed))])


def test_unreadable_images_are_remembered_by_name(mixed, tmp_path):
    Path(mixed.file(1)).write_bytes(b"spoilt")
    for store in (keep_in_memory(job(mixed)), on_disk(mixed, tmp_path / "cache"), on_disk(mixed, tmp_path / "cache")):
        with pytest.raises(ImageError, match=r"ü 1\.png: not an image, or damaged"):
            store.read(1)
        assert np.array_equal(store.read(2), FITTED.read_picture(mixed, 2).image)
    loader = Loader(mixed, PREPROCESS, workers=0, read=store.read_picture, batch_size=5, seed=0, shuffle=True)
    (batch,) = loader.batches(0)
    assert (len(batch), batch.unreadable[0].path) == (4, mixed.file(1))


def test_a_cache_of_nothing_but_unreadable_images_can_be_opened(mixed, tmp_path):
    for index in range(len(mixed)):
        Path(mixed.file(index)).write_bytes(b"")
    store = on_disk(mixed, tmp_path / "cache")
    with pytest.raises(ImageError):
        store.read(0)


def test_what_is_done_to_an_image_stays_in_its_process(mixed, tmp_path):
    on_disk(mixed, tmp_path / "cache").read(2)[:] = 0
    assert np.array_equal(on_disk(mixed, tmp_path / "cache").read(2), FITTED.read_picture(mixed, 2).image)


@pytest.mark.parametrize("keep", [FITTED, CachePolicy(shorter=8)])
def test_too_little_room_is_told_before_anything_is_decoded(mixed, tmp_path, monkeypatch, keep):
    monkeypatch.setattr(decoded, "fill", None)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    monkeypatch.setattr(decoded, "available_memory", lambda: 0)
    lower = "lower --cache_size, or " if keep.shorter else ""
    need = r"5 train images with .* need about 1 kB"
    with pytest.raises(UserError, match=rf"--cache disk: {need}, but .*cache has 0 kB free; {lower}choose another --cache_dir"):
        on_disk(mixed, tmp_path / "cache", keep)
    with pytest.raises(UserError, match=rf"--cache ram: {need}, but 80% of the free memory, 0 kB, may be used; {lower}use --cache disk"):
        keep_in_memory(job(mixed, keep))


def test_the_need_is_foretold_from_a_few_images(make_split):
    split = make_split(70, size=(12, 10))
    assert job(split, CachePolicy(shorter=20)).estimate_bytes() == 70 * 12 * 10 * 3


def test_a_place_that_cannot_be_written_is_named(mixed, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--cache disk: cannot write .*file/cache: not a directory; choose another --cache_dir"):
        on_disk(mixed, tmp_path / "file" / "cache")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_disk_that_fills_up_meanwhile_is_explained_and_leaves_nothing(mixed, tmp_path, monkeypatch, workers):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"cannot write .*: no space left on device; free some space"):
        on_disk(mixed, tmp_path / "cache", workers=workers)
    assert not list((tmp_path / "cache").glob("*train*/*"))


def test_memory_is_given_back_with_the_store(mixed):
    store = keep_in_memory(job(mixed))
    place = store.place
    assert os.path.exists(place)
    del store
    assert not os.path.exists(place)


def test_bytes_are_told_in_round_numbers():
    assert [say_bytes(count) for count in (720, 2.4e6, 3.14e9)] == ["1 kB", "2 MB", "3.1 GB"]


def test_a_reader_of_a_split_and_one_of_a_store_are_exchanged_freely(mixed):
    store = keep_in_memory(job(mixed, CachePolicy(shorter=50)))
    read = partial(mixed.read, at_least=None)
    assert all(np.array_equal(read(index), store.read(index)) for index in range(len(mixed)))


def _spoil(file: Path) -> bytes:
    """Make an image unreadable in a way that its size and time do not tell; return what it held."""
    good, status = file.read_bytes(), file.stat()
    file.write_bytes(b"x" * len(good))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return good


def test_a_cache_is_made_anew_when_an_image_can_be_read_again(mixed, tmp_path):
    file = Path(mixed.file(1))
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    good = _spoil(file)
    assert list(on_disk(mixed, tmp_path / "cache").unreadable) == [1]
    file.write_bytes(good)
    os.utime(file, ns=times)
    for workers in (1, 0):
        store = on_disk(mixed, tmp_path / "cache", workers=workers)
        assert np.array_equal(store.read(1), FITTED.read_picture(mixed, 1).image)


def _die_at_3(*where: object) -> Picture:
    if where[-1] == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return whole(np.zeros((2, 2, 3), np.uint8))


# torch looks for dead processes every five seconds.
@pytest.mark.slow
def test_a_file_that_crashes_its_decoder_is_named_when_the_size_is_foretold(mixed, monkeypatch):
    monkeypatch.setattr(CachePolicy, "read_picture", _die_at_3)
    with pytest.raises(UserError, match=r"died at .*ü 3\.jpg \(exit code -11"):
        keep_in_memory(job(mixed, workers=1))


def test_images_are_looked_at_in_processes_before_a_cache_is_filled(mixed, tmp_path, monkeypatch):
    _spoil(Path(mixed.file(1)))
    store = on_disk(mixed, tmp_path / "cache")
    here, real = os.getpid(), CachePolicy.read_picture

    def elsewhere(self: CachePolicy, split: Split, index: int) -> Picture:
        assert os.getpid() != here
        return real(self, split, index)

    monkeypatch.setattr(CachePolicy, "read_picture", elsewhere)
    parted = job(mixed, workers=2)
    assert parted.estimate_bytes() == (len(mixed) - 1) * 6 * 8 * 3
    assert not parted.can_repair(store)
    assert not job(mixed).can_repair(PixelStore(store.place, store.index, store.planes, {}))
