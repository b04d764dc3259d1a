"""Images that are put together bring their boxes along, and every batch is a function of its position alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from dataloader.augment.box_mixup import BoxMixup
from dataloader.augment.chain import build_augment
from dataloader.augment.class_crop import ClassCrop
from dataloader.augment.mosaic import Mosaic, joined_boxes
from dataloader.images.preprocess import Preprocess
from dataloader.loading.loader import Loader
from dataloader.opening.open_catalog import open_catalog
from dataloader.sample import Sample
from dataloader.sources import shapes
from dataloader.sources.shape_truths import shape_boxes
from dataloader.sources.shapes import open_shapes
from dataloader.splits.split import Split
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.label import Label
from utils.errors import UserError
from utils.randomness import numpy_rng

# A color of its own for every image, on black.
COLORS = np.array([[250, 40, 40], [40, 250, 40], [40, 40, 250], [240, 240, 40], [240, 40, 240]], np.uint8)


def painted(number: int, size: tuple[int, int] = (60, 90)) -> Sample:
    """Return an image with one rectangle, whose class is its color."""
    image = np.zeros((*size, 3), np.uint8)
    left, top, right, bottom = 10 + 4 * number, 12, 50 + 5 * number, 44
    image[top:bottom, left:right] = COLORS[number]
    return Sample(image, Boxes(np.array([[left, top, right, bottom]], np.float32), np.array([number]), size, least_visible=0.0))


class Four:
    """The other images, in turn."""

    def __init__(self) -> None:
        self.turn = 0

    def draw(self, rng: np.random.Generator) -> Sample:
        del rng
        self.turn += 1
        return painted(self.turn, (60, 90) if self.turn % 2 else (150, 80))


def boxes_around_colors(sample: Sample) -> dict[int, list[int]]:
    """Return class -> the box around its color in an image."""
    found = {}
    for number, color in enumerate(COLORS):
        # Resized edges are darker: half of the color is its border.
        inside = (np.abs(sample.image.astype(int) - color).sum(2)) < np.abs(color.astype(int)).sum() / 2
        other = np.delete(COLORS, number, axis=0).astype(int)
        inside &= np.abs(sample.image[:, :, None].astype(int) - other).sum(3).min(2) > np.abs(sample.image - color.astype(int)).sum(2)
        if inside.any():
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            found[number] = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return found


@pytest.mark.parametrize("draw", range(25))
def test_boxes_lie_around_their_objects_in_a_mosaic(draw: int) -> None:
    made = Mosaic(image_size=(100, 120)).compose(painted(0), Four(), numpy_rng(draw))
    assert isinstance(made.target, Boxes)
    assert (made.image.shape, made.target.size) == ((100, 120, 3), (100, 120))
    around = boxes_around_colors(made)
    given = dict(zip(made.target.classes.tolist(), made.target.corners.tolist(), strict=True))
    large = {number: box for number, box in given.items() if min(box[2] - box[0], box[3] - box[1]) > 3}
    assert large.keys() <= around.keys() <= given.keys()
    for number, box in large.items():
        np.testing.assert_allclose(box, around[number], atol=1.01)


def numpy_mosaic(parts: list[Sample], size: tuple[int, int], scale: float, places: list[float]) -> list[tuple[int, list[float]]]:
    """The boxes of a mosaic by way of a canvas of twice the size: laid around a point, scaled around the middle, cut to the frame."""
    height, width = size
    # Of the canvas, between a quarter and three quarters of it.
    y, x = height * (0.5 + places[0]), width * (0.5 + places[1])
    kept = []
    for number, part in enumerate(parts):
        high, wide = part.image.shape[:2]
        fit = min(height / high, width / wide)
        top, left = y - fit * high * (number < 2), x - fit * wide * (number % 2 == 0)
        assert isinstance(part.target, Boxes)
        for label, box in zip(part.target.classes.tolist(), part.target.corners.tolist(), strict=True):
            on_canvas = [left + fit * box[0], top + fit * box[1], left + fit * box[2], top + fit * box[3]]
            moved = [width / 2 + scale * (value - width) if side % 2 == 0 else height / 2 + scale * (value - height)
                     for side, value in enumerate(on_canvas)]  # fmt: skip
            cut = [min(max(value, 0), width if side % 2 == 0 else height) for side, value in enumerate(moved)]
            if cut[2] - cut[0] > 1 and cut[3] - cut[1] > 1:
                kept.append((label, cut))
    return kept


@pytest.mark.parametrize("draw", range(30))
def test_a_mosaic_is_that_of_the_paper(draw: int) -> None:
    mosaic = Mosaic((0.4, 1.8), image_size=(96, 128))
    made = mosaic.compose(painted(0), Four(), numpy_rng(draw))
    rng, others = numpy_rng(draw), Four()
    rng.random()
    scale, places = float(rng.uniform(0.4, 1.8)), rng.random(2).tolist()
    parts = [painted(0), *(others.draw(rng) for _ in range(3))]
    wanted = numpy_mosaic([parts[place] for place in rng.permutation(4)], (96, 128), scale, places)
    assert isinstance(made.target, Boxes)
    found = dict(zip(made.target.classes.tolist(), made.target.corners.tolist(), strict=True))
    # Sides of images and the point are whole pixels here: what is as thin as that may be kept or not.
    sure = {label: box for label, box in wanted if min(box[2] - box[0], box[3] - box[1]) > 3}
    assert (
        sure.keys()
        <= found.keys()
        <= {label for label, box in wanted} | {label for label, box in found.items() if min(box[2] - box[0], box[3] - box[1]) < 3}
    )
    for label, box in sure.items():
        np.testing.assert_allclose(found[label], box, atol=1.5)


def test_boxes_that_end_thinner_than_a_pixel_are_left_out() -> None:
    corners = np.array([[0, 0, 1, 30], [0, 0, 30, 0.5], [0, 0, 1.5, 2]], np.float32)
    assert joined_boxes([Boxes(corners, np.arange(3), (40, 40))]).classes.tolist() == [2]


def test_all_four_images_are_there_and_the_point_where_they_meet_moves() -> None:
    seen = [
        set(np.unique(Mosaic((0.5, 0.5), image_size=(80, 80)).compose(painted(0), Four(), numpy_rng(draw)).target.classes))
        for draw in range(20)
    ]
    assert set.union(*seen) == {0, 1, 2, 3}
    assert np.mean([len(each) for each in seen]) > 3.5


@pytest.mark.parametrize("draw", range(10))
def test_a_mixup_of_boxes_keeps_the_boxes_of_both_images(draw: int) -> None:
    made = BoxMixup(p=1, scale=(0.5, 1.0), image_size=(90, 135)).compose(painted(0), Four(), numpy_rng(draw))
    assert isinstance(made.target, Boxes)
    assert made.image.shape == (90, 135, 3)
    assert made.target.classes.tolist() == [0, 1]
    (left, top, right, bottom), second = made.target.corners
    np.testing.assert_allclose([left, top, right, bottom], [15, 18, 75, 66], atol=1e-4)
    x, y = (second[:2] + second[2:]) / 2
    assert made.image[int(y), int(x), 1] > 90, "the green one shines through"
    assert made.image[int((top + bottom) / 2), int((left + right) / 2), 0] > 90


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "COUNTS", {"train": 3, "val": 1, "test": 1})
        patch.setattr(shapes, "GOOD", {"train": 1, "test": 1})
        patch.setattr(shapes, "DEFECTIVE", 1)
        images = open_shapes(tmp_path_factory.mktemp("home"))
        yield replace(open_catalog(str(images)).splits["train"], truths=shape_boxes(images))


def loader_of(split: Split, workers: int = 0, augment: str = "mosaic|box_mixup|flip", **more) -> Loader:
    settings = {"batch_size": 5, "seed": 3, "shuffle": True, "augment": build_augment(augment)} | more
    return Loader(split, Preprocess((72, 80)), workers=workers, **settings)


def contents(loader: Loader, epoch: int, start: int = 0) -> list[tuple]:
    found = []
    for batch in loader.batches(epoch, start):
        assert isinstance(batch.targets, BoxBatch)
        found.append((batch.images.numpy().tobytes(), batch.targets.corners.numpy().tobytes(), batch.targets.counts.tolist()))
    loader.close()
    return found


def test_batches_of_several_images_follow_from_their_position_alone(scenes: Split) -> None:
    expected = contents(loader_of(scenes), 1)
    assert expected != contents(loader_of(scenes), 2)
    assert contents(loader_of(scenes, workers=2), 1, 2) == expected[2:], "neither workers nor a new start change them"


def test_the_last_epochs_are_plain(scenes: Split) -> None:
    plain = contents(loader_of(scenes, augment="flip"), 4)
    assert contents(loader_of(scenes, plain_from=4), 4) == plain
    assert contents(loader_of(scenes, plain_from=5), 4) != plain


def test_an_image_that_cannot_be_read_costs_its_own_place_alone(scenes: Split) -> None:
    gone = replace(scenes, paths=("gone.png", *scenes.paths[1:]))
    loader = loader_of(gone, augment="mosaic")
    batches = list(loader.batches(0))
    assert [image.path for batch in batches for image in batch.unreadable] == [str(gone.root / "gone.png")]
    assert sum(len(batch) for batch in batches) == len(scenes) - 1


@pytest.mark.parametrize("spec", ["mosaic", "box_mixup", "mosaic_hsv"])
def test_images_with_labels_refuse_them_before_the_first_image(spec: str, scenes: Split) -> None:
    with pytest.raises(UserError, match=r"puts several images with boxes together, for --task detect"):
        loader_of(replace(scenes, truths=None), augment=spec)


def test_what_cannot_work_is_said() -> None:
    with pytest.raises(UserError, match="OneOf cannot choose operations that put several images together"):
        build_augment("OneOf('mosaic', 'flip')")
    with pytest.raises(UserError, match="needs the other images of a split"):
        build_augment("mosaic")(painted(0), numpy_rng(0))
    with pytest.raises(UserError, match="two rising numbers"):
        build_augment("mosaic(scale=(2, 1))")
    with pytest.raises(UserError, match="--crop looks for classes in masks"):
        ClassCrop().check_target(painted(0).target)
    with pytest.raises(UserError, match="boxes together"):
        Mosaic().check_target(Label(0))


def test_the_recipe_keeps_boxes_inside_the_frame(scenes: Split) -> None:
    loader = loader_of(scenes, augment="mosaic_hsv")
    batch = next(loader.batches(0))
    assert isinstance(batch.targets, BoxBatch)
    corners = batch.targets.corners
    assert len(corners) > 10
    assert float(corners.min()) >= 0
    assert bool((corners <= torch.tensor([80.0, 72, 80, 72])).all())
