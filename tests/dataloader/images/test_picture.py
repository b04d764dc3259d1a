"""A mask and a box of the whole image lie right on the image as it was read, from the file and from the cache."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataloader.cache.decoded import CacheFill, CachePolicy, cache_name, keep_in_memory, keep_on_disk
from dataloader.images.picture import Picture, reduced, whole
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import read_image, read_picture
from dataloader.splits.split import Split
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import scaled
from tests.dataloader.targets.aligned_rectangles import COLOR, GROUND, Rectangle, paint
from utils.errors import UserError

ORIENTATION = 0x0112
# What each orientation does to the image of the file to put it upright.
UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.transpose(a, (1, 0, 2)),
           6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(np.transpose(a, (1, 0, 2)), 2), 8: np.rot90}  # fmt: skip


def write(file: Path, size: tuple[int, int], rectangle: Rectangle, *, orientation: int = 1, subsampling: int = 2) -> None:
    """Write a JPEG whose upright image of (H, W) `size` has a colored rectangle."""
    upright, *_ = paint(size, rectangle)
    stored = next(turned for turned in map(UPRIGHT[_INVERSE[orientation]], [upright]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(file, quality=98, subsampling=subsampling, exif=exif)


_INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}


def center(image: np.ndarray) -> np.ndarray:
    """Return x and y of the center of what is colored, to parts of a pixel."""
    way = COLOR.astype(float) - GROUND
    share = ((image.astype(float) - GROUND) @ way / (way @ way)).clip(0, 1)
    share[share < 0.1] = 0
    return np.array([np.average(axis, weights=share) + 0.5 for axis in reversed(np.indices(share.shape))])


def middle(boxes: Boxes) -> np.ndarray:
    return boxes.corners[0].reshape(2, 2).mean(0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("at_least", "eighths"), [(60, 1), (130, 2), (190, 3), (260, 4), (1000, 8)])
def test_a_reduced_jpeg_has_exactly_its_eighths_from_the_corner_where_the_file_begins(tmp_path, orientation, at_least, eighths):
    size, rectangle = (529, 601), (400, 320, 580, 510)
    write(tmp_path / "a.jpg", size, rectangle, orientation=orientation)
    picture = read_picture(tmp_path / "a.jpg", at_least=at_least)
    assert picture.size == size
    assert picture.image.shape[:2] == tuple(-(-side * eighths // 8) for side in size)
    assert picture.change.rows[0][0] == picture.change.rows[1][1] == eighths / 8
    boxes = paint(size, rectangle)[2]
    moved = picture.follow(boxes)
    assert isinstance(moved, Boxes)
    assert np.abs(center(picture.image) - middle(moved)).max() < 0.06
    assert np.array_equal(picture.image, read_image(tmp_path / "a.jpg", at_least=at_least))


@pytest.mark.parametrize("orientation", [1, 3])
def test_the_ratio_of_the_rounded_sizes_would_be_beside_it(tmp_path, orientation):
    size, rectangle = (529, 601), (400, 320, 580, 510) if orientation == 1 else (21, 19, 201, 209)
    write(tmp_path / "a.jpg", size, rectangle, orientation=orientation)
    picture = read_picture(tmp_path / "a.jpg", at_least=60)
    boxes = paint(size, rectangle)[2]
    ratio = boxes.moved(scaled(size, (picture.image.shape[0], picture.image.shape[1])))
    assert np.abs(center(picture.image) - middle(ratio)).max() > 0.5


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_mask_lies_on_a_reduced_jpeg_whatever_its_subsampling(tmp_path, subsampling):
    write(tmp_path / "a.jpg", (403, 333), (96, 80, 320, 392), subsampling=subsampling)
    picture = read_picture(tmp_path / "a.jpg", at_least=80)
    mask = picture.follow(paint((403, 333), (96, 80, 320, 392))[1])
    assert isinstance(mask, Mask)
    assert mask.ids.shape == picture.image.shape[:2] == (101, 84)
    assert ((picture.image[..., 0] > 130) == (mask.ids == 1)).all()


@settings(max_examples=300, deadline=None)
@given(size=st.tuples(st.integers(1, 900), st.integers(1, 900)), at_least=st.integers(1, 500))
def test_the_sizes_tell_the_scale(size: tuple[int, int], at_least: int) -> None:
    sizes = {k: (-(-size[0] * k // 8), -(-size[1] * k // 8)) for k in (1, 2, 3, 4, 8)}
    chosen = next((k for k in (1, 2, 3, 4) if min(sizes[k]) >= at_least), 8)
    picture = reduced(np.broadcast_to(np.uint8(0), (*sizes[chosen], 3)), size)
    assert picture.change.rows[0][0] == (1.0 if size == (1, 1) else chosen / 8), "a single pixel stays itself"


@pytest.mark.parametrize("keep", [CachePolicy(fitted=Preprocess((64, 96))), CachePolicy(fitted=Preprocess((64, 96), "crop")),
                                  CachePolicy(shorter=101), CachePolicy(shorter=5000), CachePolicy(shorter=70, at_least=70),
                                  CachePolicy(fitted=Preprocess((60, 60), "stretch"), at_least=120)], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_a_cache_says_the_same_as_the_file(tmp_path, keep, kind):
    size, rectangle = (529, 601), (300, 220, 480, 410)
    write(tmp_path / "a.jpg", size, rectangle, orientation=3)
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    write(tmp_path / "c.jpg", (200, 90), (20, 80, 70, 120))
    split = Split("train", tmp_path, ("a.jpg", "b.jpg", "c.jpg"), np.zeros(3, dtype=np.int64))
    job = CacheFill(split, keep, 0, advance=lambda _: None)
    store = keep_in_memory(job) if kind == "ram" else keep_on_disk(job, tmp_path / "cache", cache_name(split, keep))
    for place, number, whole_size, corners in [(0, 2, (200, 90), (20, 80, 70, 120)), (1, 0, size, rectangle)]:
        found, expected = store.subset([2, 0]).read_picture(place), keep.read_picture(split, number)
        assert np.array_equal(found.image, expected.image)
        assert (found.size, found.change) == (expected.size, expected.change)
        assert found.size == whole_size
        moved = found.follow(paint(whole_size, corners)[2])
        assert isinstance(moved, Boxes)
        assert np.abs(center(found.image) - middle(moved)).max() < 0.1


def test_other_files_are_whole(tmp_path):
    image, *_ = paint((30, 20), (2, 3, 9, 8))
    Image.fromarray(image).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", at_least=3)
    expected = whole(image)
    assert np.array_equal(picture.image, image)
    assert (picture.size, picture.change) == (expected.size, expected.change)
    mask = paint((30, 20), (2, 3, 9, 8))[1]
    follower = picture.follow(mask)
    assert isinstance(follower, Mask)
    assert follower.ids is mask.ids, "nothing is copied where nothing changed"


def test_a_mask_of_another_size_is_refused_and_a_label_goes_through():
    picture: Picture = whole(np.zeros((30, 20, 3), np.uint8))
    with pytest.raises(UserError, match="mask of 30x20 pixels for an image of 20x30"):
        picture.follow(Mask(np.zeros((20, 30), np.uint8)))
    label = Label(2)
    assert picture.follow(label) is label


def test_a_cache_that_does_not_say_where_its_pixels_lie_is_made_anew(tmp_path):
    write(tmp_path / "a.jpg", (200, 90), (20, 80, 70, 120))
    split, keep = Split("train", tmp_path, ("a.jpg",), np.zeros(1, dtype=np.int64)), CachePolicy(shorter=50)
    folder, name = tmp_path / "cache", cache_name(split, keep)
    first = keep_on_disk(CacheFill(split, keep, 0, advance=lambda _: None), folder, name)
    (folder / name / "planes.npy").unlink()
    again = keep_on_disk(CacheFill(split, keep, 0, advance=lambda _: None), folder, name)
    assert again.read_picture(0).change == first.read_picture(0).change
    assert (folder / name / "planes.npy").exists()
