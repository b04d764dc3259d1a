"""From the file to the batch, image, mask and box stay on each other, however the image is read, kept and augmented."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataloader.augment.chain import build_augment
from dataloader.cache.decoded import CacheFill, CachePolicy, keep_in_memory, keep_on_disk
from dataloader.images.picture import Picture
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.sample import Batch
from dataloader.sources.mask_files import MaskFolder
from dataloader.splits.split import Split
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.mask import Mask
from tests.dataloader.targets.aligned_rectangles import box_of, is_cut, off_center, paint, purified, told_apart
from utils.errors import UserError

# Odd sizes, so that neither a JPEG of half the size nor a fitted image has whole pixels of the file.
SIZES = [(301, 403), (240, 317), (403, 301), (199, 215), (350, 350), (123, 457)]
FITTED = (72, 90)
# The shortest side that training leaves of a JPEG file.
LEAST = 90


def write(folder: Path, suffix: str) -> Split:
    """Write images of a rectangle each, with their masks; return them with classes alone."""
    names = []
    for number, (height, width) in enumerate(SIZES):
        left, top = width // 4 + number, height // 5 + 2 * number
        image, mask, _ = paint((height, width), (left, top, left + width // 3 + number, top + height // 2))
        name = f"train/{number}{suffix}"
        (folder / "images" / "train").mkdir(parents=True, exist_ok=True)
        (folder / "masks" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "images" / name, **({"quality": 97, "subsampling": 0} if suffix == ".jpg" else {}))
        Image.fromarray(mask.ids).save(folder / "masks" / f"train/{number}.png")
        names.append(name)
    return Split("train", folder / "images", tuple(names), np.zeros(len(names), np.int64))


@pytest.fixture(scope="module", params=[".png", ".jpg"])
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return write(tmp_path_factory.mktemp("images"), request.param)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return write(tmp_path_factory.mktemp("photos"), ".jpg")


@dataclass(frozen=True)
class Given:
    """Truths of boxes that are there already."""

    boxes: Mapping[str, Boxes]
    classes: tuple[str, ...] = ("ground", "object")

    def read(self, path: str) -> Boxes:
        return self.boxes[path]

    def nothing(self) -> Boxes:
        return next(iter(self.boxes.values())).nothing()

    def count(self, paths: Sequence[str]) -> np.ndarray:
        return np.array([0, len(paths)])


def both(split: Split) -> tuple[Split, Split]:
    """Return the images with masks, and with boxes."""
    masks = MaskFolder(split.root.parent / "masks", ("ground", "object"))
    boxes = {}
    for path in split.paths:
        mask = masks.read(path)
        corners = np.array([box_of(mask.ids)], np.float32)
        boxes[path] = Boxes(corners, np.array([1]), mask.image_size(), least_visible=0.0)
    return replace(split, truths=masks), replace(split, truths=Given(boxes))


def torn(masked: Batch, boxed: Batch, within: float) -> str:
    """Return in which way a batch tears images from masks or boxes by more than `within` pixels; '' where it keeps them together."""
    assert np.array_equal(masked.images.numpy(), boxed.images.numpy()), "the pixels depend on the target"
    assert isinstance(boxed.targets, BoxBatch)
    for row, image in enumerate(masked.images.permute(0, 2, 3, 1).numpy()):
        assert not isinstance(masked.targets, BoxBatch)
        mask = Mask(masked.targets[row].numpy())
        if mask.ids.shape != image.shape[:2]:
            return "the mask has another size"
        if told_apart(image, purified(mask, 2)) < 0.97:
            return "the mask lies beside the object"
        if not (mask.ids == 1).any():
            continue
        corners = boxed.targets.of(row)[0].numpy()
        outward = np.array([1, 1, -1, -1]) * (np.array(box_of(mask.ids)) - corners[0])
        if outward.min() < -2 * within:
            return "the box leaves out a part of the object"
        if not is_cut(mask):
            if outward.max() > 2 * within + 0.5:
                return "the box is larger than the object"
            if off_center(image, mask, Boxes(corners, np.array([1]), mask.image_size())) > within:
                return "the target lies beside the object by a part of a pixel"
    return ""


Read = Callable[[int], Picture]


def read_by(way: str, split: Split, preprocess: Preprocess, folder: Path) -> Read:
    """Return what gives a loader its images."""
    if way == "whole":
        return split.read_picture
    if way == "reduced":
        return partial(split.read_picture, at_least=LEAST)
    keep = CachePolicy(fitted=preprocess, at_least=LEAST) if way == "fitted" else CachePolicy(shorter=LEAST, at_least=LEAST)
    job = CacheFill(split, keep, 0, int)
    return (keep_on_disk(job, folder, "images-1") if way == "disk" else keep_in_memory(job)).read_picture


def walk(split: Split, read: Read, preprocess: Preprocess, chain: str, *, workers: int, seed: int) -> str:
    """Return what is torn in an epoch; '' where nothing is."""
    more = {"shuffle": True, "augment": build_augment(chain)} if chain else {"shuffle": False}
    loaders = [Loader(each, preprocess, read=read, batch_size=4, workers=workers, seed=seed, **more) for each in both(split)]
    # Every step rounds a mask to whole pixels, which later steps enlarge.
    within = 2.0 if chain else 0.76
    found = [torn(*pair, within) for pair in zip(*(loader.batches(1) for loader in loaders), strict=True)]
    for loader in loaders:
        loader.close()
    return next(filter(None, found), "")


@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
@pytest.mark.parametrize("way", ["whole", "reduced", "fitted", "shorter", "disk"])
def test_a_target_lies_on_its_image_however_that_is_read(split: Split, way: str, resize: str, tmp_path: Path) -> None:
    preprocess = Preprocess(FITTED, resize)
    read = read_by(way, split, preprocess, tmp_path)
    assert walk(split, read, preprocess, "", workers=0, seed=0) == ""
    if way == "reduced" and split.paths[0].endswith(".jpg"):
        assert read(0).image.shape[:2] == (113, 152), "the files are large enough to be reduced"


@pytest.mark.parametrize(
    ("way", "chain"), [("reduced", "flip|rotate(40, p=1)|resized_crop((0.4, 1))"), ("shorter", "randaug(2)|flip"), ("fitted", "")]
)
def test_a_target_lies_on_its_image_in_other_processes_too(photos: Split, way: str, chain: str, tmp_path: Path) -> None:
    preprocess = Preprocess(FITTED)
    assert walk(photos, read_by(way, photos, preprocess, tmp_path), preprocess, chain, workers=2, seed=4) == ""


# Boxes are upright: after a second turn one is larger than its object.
TURNS = ["", "rotate(180, p=1)|", "Perspective(p=1)|"]
STEPS = ["flip", "crop(0.4, p=1)", "resized_crop((0.4, 1))", "VerticalFlip", "Resize(61, 97)", "color"]


@settings(max_examples=15, deadline=None)
@given(
    turn=st.sampled_from(TURNS),
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=3, unique=True),
    fitted=st.tuples(st.integers(40, 100), st.integers(40, 100)),
    resize=st.sampled_from(["fit", "crop", "stretch"]),
    way=st.sampled_from(["whole", "reduced"]),
    seed=st.integers(0, 1000),
)
def test_a_target_lies_on_its_image_after_any_chain(
    photos: Split, turn: str, steps: list[str], fitted: tuple[int, int], resize: str, way: str, seed: int
) -> None:
    preprocess = Preprocess(fitted, resize)
    assert walk(photos, read_by(way, photos, preprocess, Path()), preprocess, turn + "|".join(steps), workers=0, seed=seed) == ""


def test_the_comparison_notices_a_target_that_stays_behind(photos: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = ((0.35, 0.0, 0.0), (0.0, 0.35, 0.0), (0.0, 0.0, 1.0))
    monkeypatch.setattr(Picture, "follow", lambda self, target: target.moved(replace(self.change, rows=behind)))
    preprocess = Preprocess(FITTED)
    assert walk(photos, read_by("reduced", photos, preprocess, Path()), preprocess, "", workers=0, seed=0) != ""


def test_a_mask_of_another_image_is_one_clear_line(photos: Split, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for path in photos.paths:
        Image.fromarray(np.zeros((100, 120), np.uint8)).save((tmp_path / path).with_suffix(".png"))
    split = replace(photos, truths=MaskFolder(tmp_path, ("ground", "object")))
    with pytest.raises(UserError, match=r"0\.jpg: mask of 120x100 pixels for an image of 403x301") as raised:
        next(Loader(split, Preprocess(FITTED), batch_size=4, workers=0, seed=0, shuffle=False).batches(0))
    assert "\n" not in str(raised.value)
