"""Batches carry every kind of target, equal for any number of workers and from any start."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dataloader.augment.chain import Augment, build_augment
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import ImageError
from dataloader.loading.loader import Loader
from dataloader.loading.reader import BatchReader, SlottedBatch
from dataloader.loading.slots import Slots
from dataloader.opening.open_catalog import open_catalog
from dataloader.sample import Batch, Sample
from dataloader.sources import shapes
from dataloader.sources.shape_truths import SHAPE_TRUTHS
from dataloader.sources.shapes import CLASSES, open_shapes, scene
from dataloader.splits.split import Split
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.mask import Mask
from dataloader.targets.unknown import Unknown
from utils.errors import UserError

SIZE = (48, 56)
AUGMENT = build_augment("flip|crop(0.3)|color")
KINDS = ["label", "labels", "masks", "deep masks", "boxes", "unknown"]


@dataclass(frozen=True)
class Deep:
    """Masks of 16 bits."""

    masks: object

    classes = CLASSES

    def read(self, path: str) -> Mask:
        found = SHAPE_TRUTHS["masks"](Path(str(self.masks))).read(path)
        return replace(found, ids=found.ids.astype(np.uint16) * 300, ignore=65535)

    def nothing(self) -> Mask:
        return Mask(np.full((1, 1), 65535, np.uint16), 65535)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """Return 18 training images of the built-in scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "COUNTS", {"train": 3, "val": 1, "test": 1})
        patch.setattr(shapes, "GOOD", {"train": 1, "test": 1})
        patch.setattr(shapes, "DEFECTIVE", 1)
        yield open_catalog(str(open_shapes(tmp_path_factory.mktemp("home")))).splits["train"]


def with_target(split: Split, kind: str) -> Split:
    """Return the images with another kind of target."""
    if kind == "labels":
        return replace(split, targets=np.eye(len(CLASSES), dtype=np.float32)[split.targets] * 0.75)
    if kind == "unknown":
        return replace(split, targets=np.empty((len(split), 0), np.int64))
    if kind == "deep masks":
        return replace(split, truths=Deep(split.root))
    return replace(split, truths=SHAPE_TRUTHS[kind](split.root)) if kind in SHAPE_TRUTHS else split


def loader_of(split: Split, *, workers: int = 0, size: tuple[int, int] = SIZE, **options) -> Loader:
    settings = {"batch_size": 5, "seed": 3, "shuffle": True, "augment": AUGMENT} | options
    return Loader(split, Preprocess(size), workers=workers, **settings)


def parts(batch: Batch) -> list[Tensor]:
    """Return everything of a batch that can be compared."""
    targets = batch.targets
    several = [targets.corners, targets.classes, targets.counts] if isinstance(targets, BoxBatch) else [targets]
    return [batch.images.clone(), batch.weights, batch.indices, *several]


def equal(one: list[list[Tensor]], two: list[list[Tensor]]) -> bool:
    return len(one) == len(two) and all(
        a.dtype == b.dtype and torch.equal(a, b) for left, right in zip(one, two, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_equal_for_any_number_of_workers_and_from_any_start(scenes: Split, kind: str) -> None:
    split = with_target(scenes, kind)
    alone = loader_of(split)
    whole = [list(map(parts, alone.batches(epoch))) for epoch in range(3)]
    assert not equal(whole[0], whole[1])
    for workers in (1, 2):
        several = loader_of(split, workers=workers)
        kept = list(several.batches(0))
        # A walk that is left early disturbs neither the next one nor the batches before it.
        next(several.batches(1))
        assert equal(list(map(parts, several.batches(2, 2))), whole[2][2:])
        assert equal(list(map(parts, kept)), whole[0])
        several.close()


def test_every_kind_is_stacked_in_its_own_type(scenes: Split) -> None:
    found = {}
    for kind in KINDS:
        loader = loader_of(with_target(scenes, kind), workers=1, batch_size=6, augment=None)
        found[kind] = next(loader.batches(0)).targets
        loader.close()
    assert {kind: (each.dtype, tuple(each.shape)) for kind, each in found.items() if isinstance(each, Tensor)} == {
        "label": (torch.int64, (6,)),
        "labels": (torch.float32, (6, 6)),
        "masks": (torch.uint8, (6, *SIZE)),
        "deep masks": (torch.uint16, (6, *SIZE)),
        "unknown": (torch.int64, (6, 0)),
    }
    boxes = found["boxes"]
    assert isinstance(boxes, BoxBatch)
    assert (len(boxes), boxes.corners.dtype, boxes.classes.dtype) == (6, torch.float32, torch.int64)
    assert len(boxes.corners) == int(boxes.counts.sum()) > 6


@pytest.mark.parametrize("workers", [0, 2])
def test_masks_and_boxes_of_the_batch_are_those_of_its_scenes(scenes: Split, workers: int) -> None:
    loaders = [
        Loader(with_target(scenes, kind), Preprocess((64, 64)), batch_size=4, workers=workers, seed=0, shuffle=False)
        for kind in ("masks", "boxes")
    ]
    for masked, boxed in zip(*(loader.batches(0) for loader in loaders), strict=True):
        for row, index in enumerate(masked.indices.tolist()):
            true = scene(int(Path(scenes.paths[index]).stem))
            assert np.array_equal(masked.targets[row].numpy(), true.mask)
            assert np.array_equal(masked.images[row].permute(1, 2, 0).numpy(), true.image)
            corners, classes = boxed.targets.of(row)
            assert np.array_equal(corners.numpy(), true.boxes)
            assert np.array_equal(classes.numpy(), true.classes)
    for loader in loaders:
        loader.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_copies_of_an_image_have_targets_of_their_own(scenes: Split, kind: str, workers: int) -> None:
    # Of the size of the files: a center that lies between two pixels belongs to the right one, mirrored or not.
    more = {"size": (64, 64), "copies": 2, "augment": build_augment("flip(1)")}
    loader = loader_of(with_target(scenes, kind), workers=workers, **more)
    batch = next(loader.batches(0))
    loader.close()
    count = len(batch) // 2
    clean, mirrored = batch.images[:count], batch.images[count:]
    if kind.endswith("masks"):
        assert torch.equal(batch.targets[:count].flip(2), batch.targets[count:])
        assert torch.equal(clean.flip(3), mirrored)
    elif isinstance(batch.targets, BoxBatch):
        for row in range(count):
            (before, _), (after, _) = batch.targets.of(row), batch.targets.of(count + row)
            left, top, right, bottom = before.T
            assert torch.allclose(torch.stack([64 - right, top, 64 - left, bottom], dim=1), after, atol=1e-4)
    else:
        assert torch.equal(batch.targets[:count], batch.targets[count:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_a_readable_image_is_filled_with_targets_that_say_nothing(scenes: Split, kind: str, workers: int) -> None:
    lost = replace(with_target(scenes, kind), root=scenes.root / "nowhere")
    loader = loader_of(lost, workers=workers, copies=2)
    batch = next(loader.batches(0))
    loader.close()
    assert (len(batch), float(batch.weights.sum()), len(batch.unreadable)) == (4, 0.0, 5)
    assert not batch.images.any()
    if isinstance(batch.targets, BoxBatch):
        assert (len(batch.targets), len(batch.targets.corners)) == (4, 0)
    elif kind.endswith("masks"):
        ignore = 65535 if kind == "deep masks" else 255
        assert batch.targets.shape[1:] == SIZE
        assert (batch.targets.numpy() == ignore).all()
    else:
        assert not batch.targets.any()


@pytest.mark.parametrize(("kind", "dtype"), [("label", None), ("masks", np.dtype(np.uint8)), ("deep masks", np.dtype(np.uint16))])
def test_masks_wait_in_the_slot_behind_the_images(scenes: Split, kind: str, dtype: np.dtype | None) -> None:
    split = with_target(scenes, kind)
    slots = Slots.make(1, 5 * 48 * 56 * (3 + (dtype.itemsize if dtype else 0)))
    assert slots is not None
    indices = np.arange(5)
    settings = (split, split.read_picture, Preprocess(SIZE), Augment(), 0, False)
    plain, slotted = (BatchReader(*settings, slots=each)[0, 0, indices, indices * 0, 0] for each in (None, slots))
    assert isinstance(plain, Batch)
    assert isinstance(slotted, SlottedBatch)
    assert slotted.masks == dtype
    if dtype is not None:
        assert slotted.about.targets is None
        assert torch.equal(slots.copied(0, (5, *SIZE), dtype, start=5 * 48 * 56 * 3), plain.targets)
    # Where the slot is too small for them, they go another way.
    small = Slots.make(1, 5 * 48 * 56 * 3)
    tight = BatchReader(*settings, slots=small)[0, 0, indices, indices * 0, 0]
    assert isinstance(tight, SlottedBatch)
    assert tight.masks is None
    assert torch.equal(torch.as_tensor(tight.about.targets), plain.targets)


@pytest.mark.parametrize("kind", ["masks", "deep masks", "boxes"])
def test_batches_are_equal_where_the_system_has_no_slots(scenes: Split, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = with_target(scenes, kind)
    expected = list(map(parts, loader_of(split).batches(0)))
    monkeypatch.setattr(Slots, "make", lambda *_: None)
    loader = loader_of(split, workers=1)
    assert equal(list(map(parts, loader.batches(0))), expected)
    loader.close()


class Missing:
    """Truths of which one cannot be read."""

    classes = CLASSES

    def __init__(self, images: Path, lost: str) -> None:
        self.masks, self.lost = SHAPE_TRUTHS["masks"](images), lost

    def read(self, path: str) -> Mask:
        if path == self.lost:
            raise ImageError("its mask", "gone")
        target = self.masks.read(path)
        assert isinstance(target, Mask)
        return target

    def nothing(self) -> Mask:
        return Mask(np.full((1, 1), 255, np.uint8))


def test_an_image_whose_mask_cannot_be_read_is_left_out_of_training_and_named(scenes: Split) -> None:
    split = replace(scenes, truths=Missing(scenes.root, scenes.paths[4]))
    batches = list(loader_of(split).batches(0))
    assert [each.path for batch in batches for each in batch.unreadable] == ["its mask"]
    assert 4 not in torch.cat([batch.indices for batch in batches])
    with pytest.raises(UserError, match="its mask: gone"):
        list(loader_of(split, shuffle=False, augment=None).batches(0))


def _unknown_now_and_then(sample: Sample, rng: np.random.Generator) -> Sample:
    del rng
    return replace(sample, target=Unknown()) if sample.index % 2 else sample


def _of_another_size(sample: Sample, rng: np.random.Generator) -> Sample:
    del rng
    return replace(sample, target=Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (3, 4)))


@pytest.mark.parametrize(("own", "message"), [(_unknown_now_and_then, "Boxes, Unknown in one batch"), (_of_another_size, r"sample\.moved")])
@pytest.mark.parametrize("workers", [0, 1])
def test_targets_that_do_not_belong_together_are_one_clear_line(scenes: Split, own, message: str, workers: int) -> None:
    loader = loader_of(with_target(scenes, "boxes"), workers=workers, augment=Augment((own,)))
    with pytest.raises(UserError, match=message) as raised:
        list(loader.batches(0))
    loader.close()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_an_augmentation_that_cannot_move_places_is_refused_before_an_image_is_read(scenes: Split, kind: str) -> None:
    with pytest.raises(UserError, match="augmix"):
        loader_of(with_target(scenes, kind), augment=build_augment("flip|augmix"))
    loader_of(scenes, augment=build_augment("flip|augmix")).close()
