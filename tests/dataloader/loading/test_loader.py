import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataloader.augment.chain import Augment, build_augment
from dataloader.images.preprocess import Preprocess
from dataloader.images.read import read_image
from dataloader.loading.loader import Loader
from dataloader.loading.size_schedule import parse_sizes
from dataloader.sample import Sample
from dataloader.splits.integrity import stamp
from dataloader.targets.label import Label, Labels
from dataloader.targets.target import Target
from utils.errors import UserError
from utils.logs import log

PREPROCESS = Preprocess(image_size=(8, 8))
AUGMENT = build_augment("flip|crop|color")


def train_loader(split, *, workers=0, **options):
    settings = {"batch_size": 4, "seed": 3, "shuffle": True, "augment": AUGMENT} | options
    return Loader(split, PREPROCESS, workers=workers, **settings)


def score_loader(split, *, workers=0, **options):
    return Loader(split, PREPROCESS, workers=workers, **({"batch_size": 4, "seed": 3, "shuffle": False} | options))


def contents(batches):
    return [tuple(getattr(batch, name).clone() for name in ("images", "targets", "weights", "indices")) for batch in batches]


def equal(one, two):
    return len(one) == len(two) and all(
        torch.equal(a, b) for left, right in zip(one, two, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_batches_are_equal_for_any_number_of_workers(make_split):
    split = make_split(19)
    alone = train_loader(split)
    several = train_loader(split, workers=2)
    for epoch in (0, 1, 5):
        assert equal(contents(alone.batches(epoch)), contents(several.batches(epoch)))
    # A walk that is left early does not disturb the next one.
    next(several.batches(7))
    assert equal(contents(alone.batches(8, 2)), contents(several.batches(8, 2)))
    several.close()


def test_a_batch_stays_as_it_is_while_others_are_read(make_split):
    split = make_split(60)
    several = train_loader(split, workers=2, batch_size=2)
    kept = list(several.batches(0))
    next(several.batches(1))
    kept += list(several.batches(2))
    several.close()
    alone = train_loader(split, batch_size=2)
    assert equal(contents(kept), contents([*alone.batches(0), *alone.batches(2)]))


def test_an_epoch_can_start_at_any_batch(make_split):
    split = make_split(14)
    whole = contents(train_loader(split).batches(3))
    for start in range(5):
        assert equal(contents(train_loader(split).batches(3, start)), whole[start:])


def test_epochs_differ_in_order_and_augmentation(make_split):
    loader = train_loader(make_split(8))
    first, second = (torch.cat([batch.indices for batch in loader.batches(epoch)]) for epoch in (0, 1))
    assert sorted(first) == sorted(second)
    assert not torch.equal(first, second)
    by_index = [
        {int(i): image for batch in loader.batches(epoch) for i, image in zip(batch.indices, batch.images, strict=True)} for epoch in (0, 1)
    ]
    assert any(not torch.equal(by_index[0][index], by_index[1][index]) for index in by_index[0])


def test_augmentation_follows_the_image_not_its_batch(make_split):
    split = make_split(8)
    walks = [
        {
            int(i): image
            for batch in train_loader(split, batch_size=size).batches(0)
            for i, image in zip(batch.indices, batch.images, strict=True)
        }
        for size in (2, 4)
    ]
    assert all(torch.equal(walks[0][index], walks[1][index]) for index in range(8))


def test_loading_does_not_touch_the_global_random_numbers(make_split):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    loader = train_loader(make_split(6), workers=1)
    list(loader.batches(0))
    loader.close()
    assert (torch.rand(1), np.random.rand()) == expected


def test_batch_has_the_documented_form(make_split):
    split = replace(make_split(4), weights=np.array([0.5, 1, 2, 3], dtype=np.float32))
    (batch,) = score_loader(split).batches(0)
    assert (batch.images.shape, batch.images.dtype) == ((4, 3, 8, 8), torch.uint8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.tolist() == [0, 1, 2, 0]
    assert batch.weights.tolist() == [0.5, 1, 2, 3]
    assert torch.equal(batch.images[2], PREPROCESS.apply(read_image(split.file(2))))


def test_probability_targets_reach_the_batch(make_split):
    split = replace(make_split(4), targets=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]] * 0.5)
    (batch,) = score_loader(split).batches(0)
    assert batch.targets.tolist() == split.targets.tolist()


def test_evaluation_is_complete_in_order_and_never_augmented(make_split):
    split = make_split(9)
    batches = list(score_loader(split, workers=1).batches(0))
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(9))
    with pytest.raises(AssertionError, match="never augmented"):
        score_loader(split, augment=AUGMENT)


def test_processes_share_what_one_process_sees(make_split):
    split = make_split(13)
    whole = contents(train_loader(split).batches(2))
    ranks = [contents(train_loader(split, rank=rank, world=2).batches(2)) for rank in (0, 1)]
    for number, batch in enumerate(ranks[0]):
        for field in range(4):
            both = torch.cat([batch[field], ranks[1][number][field]])
            assert torch.equal(both, whole[number][field][: len(both)])
    assert len(ranks[0]) == len(ranks[1]) == 3


def spoil(split, *indices):
    for index in indices:
        Path(split.file(index)).write_bytes(b"spoilt")


@pytest.mark.parametrize("workers", [0, 1])
def test_training_leaves_unreadable_images_out_and_names_them(make_split, workers):
    split = make_split(8)
    spoil(split, 2)
    loader = train_loader(split, workers=workers)
    batches = list(loader.batches(0))
    loader.close()
    assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == [0, 1, 3, 4, 5, 6, 7]
    assert [(Path(file.path).name, file.reason) for batch in batches for file in batch.unreadable] == [
        ("002.png", "not an image, or damaged")
    ]
    assert sorted(map(len, batches)) == [3, 4]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("make", [score_loader, lambda split, **options: train_loader(split, strict=True, **options)])
def test_evaluation_and_strict_training_stop_at_an_unreadable_image(make_split, make, workers):
    split = make_split(8)
    spoil(split, 5)
    loader = make(split, workers=workers)
    with pytest.raises(UserError, match=r"^cannot read the image .*005\.png: not an image, or damaged$"):
        list(loader.batches(0))
    loader.close()


def test_a_batch_of_unreadable_images_is_filled_with_what_weighs_nothing(make_split):
    split = make_split(8)
    spoil(split, *range(7))
    batches = list(train_loader(split).batches(0))
    assert [len(batch) for batch in batches] == [2, 2], "batch norm needs two, and every process a batch"
    assert sum(float(batch.weights.sum()) for batch in batches) == 1, "one image can be read"
    for batch in batches:
        assert not batch.images[batch.weights == 0].any()
    assert sum(len(batch.unreadable) for batch in batches) == 7


def test_a_data_set_of_one_image_is_loaded(make_split):
    (batch,) = train_loader(make_split(1)).batches(0)
    assert len(batch) == 1


def test_only_one_walk_is_open_at_a_time(make_split):
    loader = train_loader(make_split(12))
    first = loader.batches(0)
    next(first)
    next(loader.batches(1))
    with pytest.raises(AssertionError, match="another epoch"):
        next(first)


def test_wrong_numbers_are_user_errors(make_split):
    with pytest.raises(UserError, match="-j -1"):
        train_loader(make_split(4), workers=-1)
    with pytest.raises(UserError, match="-b 3"):
        train_loader(make_split(4), batch_size=3, world=2)


def test_a_batch_of_copies_begins_with_the_clean_images(make_split):
    split = make_split(9)
    clean = {int(i): image for batch in score_loader(split).batches(0) for i, image in zip(batch.indices, batch.images, strict=True)}
    for batch in train_loader(split, copies=3, batch_size=4).batches(1):
        samples = len(batch) // 3
        assert batch.copies == 3
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        first, second, third = batch.images.split(samples)
        assert batch.indices.tolist() == batch.indices[:samples].tolist() * 3
        assert batch.targets.tolist() == batch.targets[:samples].tolist() * 3
        assert all(torch.equal(image, clean[int(index)]) for image, index in zip(first, batch.indices, strict=False))
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)


def test_an_unreadable_image_leaves_all_copies(make_split):
    split = make_split(4)
    spoil(split, 1)
    (batch,) = train_loader(split, copies=2).batches(0)
    assert sorted(batch.indices.tolist()) == [0, 0, 2, 2, 3, 3]


def test_images_follow_the_size_schedule_whatever_reads_them(make_split):
    split = make_split(8)
    sizes = parse_sizes("4:0.5,8", (8, 8), 4)
    augment = build_augment("resized_crop|flip")
    loaders = [train_loader(split, sizes=sizes, augment=augment, workers=workers) for workers in (0, 1)]
    for epoch, side in ((0, 4), (1, 4), (2, 8)):
        first, second = (contents(loader.batches(epoch)) for loader in loaders)
        assert equal(first, second)
        assert {images.shape[2:] for images, *_ in first} == {(side, side)}
    loaders[1].close()


@pytest.mark.parametrize("augment", ["randaug", "augmix", "strong", "reference", "GaussNoise(p=1)|Rotate"])
def test_library_operations_give_equal_pixels_for_any_number_of_workers(make_split, augment):
    split = make_split(10)
    loaders = [train_loader(split, augment=build_augment(augment), workers=workers) for workers in (0, 2)]
    assert equal(*(contents(loader.batches(1)) for loader in loaders))
    loaders[1].close()


def test_an_image_that_is_drawn_twice_is_augmented_in_two_ways(make_split):
    split = make_split(2, size=(40, 40))
    draws = np.array([8.0, 0.0])
    (batch,) = train_loader(split, draws=draws, batch_size=8).batches(0)
    assert batch.indices.tolist() == [0] * 8
    assert len({image.numpy().tobytes() for image in batch.images}) > 4
    (again,) = train_loader(split, draws=draws, batch_size=8).batches(0)
    assert torch.equal(batch.images, again.images)


def test_a_batch_knows_its_epoch(make_split):
    assert {batch.epoch for batch in train_loader(make_split(8)).batches(6)} == {6}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changes_is_read_as_it_is_and_named_once(make_split, workers, monkeypatch, caplog):
    split = stamp(make_split(8))
    Path(split.file(3)).write_bytes(Path(split.file(4)).read_bytes())
    monkeypatch.setattr(log(), "propagate", True)
    loader = train_loader(split, workers=workers)
    indices = [batch.indices for epoch in range(2) for batch in loader.batches(epoch)]
    loader.close()
    assert sorted(torch.cat(indices).tolist()) == sorted([*range(8), *range(8)])
    # pytest listens at two loggers when an earlier test has cut them apart; a record is one all the same.
    (line,) = {id(record): record.getMessage() for record in caplog.records}.values()
    assert line.startswith(f"{split.file(3)} has changed")


def test_of_many_files_that_change_the_first_are_named_and_the_others_counted(make_split, monkeypatch, caplog):
    split = stamp(make_split(16))
    for index in range(12):
        os.utime(split.file(index), ns=(1, 1))
    monkeypatch.setattr(log(), "propagate", True)
    loader = score_loader(split)
    for epoch in range(2):
        list(loader.batches(epoch))
    lines = list({id(record): record.getMessage() for record in caplog.records}.values())
    assert [line.partition(" has changed")[0] for line in lines[:5]] == [split.file(index) for index in range(5)]
    assert lines[5:] == ["7 more files have changed (12 so far)"]


def test_a_file_that_vanishes_is_skipped_in_training_and_an_error_in_evaluation(make_split):
    split = stamp(make_split(8))
    Path(split.file(3)).unlink()
    (image,) = [image for batch in train_loader(split).batches(0) for image in batch.unreadable]
    assert image.path == split.file(3)
    with pytest.raises(UserError, match=r"003\.png: No such file"):
        list(score_loader(split).batches(0))


@dataclass(frozen=True)
class Relabel:
    """Gives every image the target and the weight that `choose` makes of its number."""

    choose: Callable[[int], tuple[Any, float]]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        del rng
        target, weight = self.choose(sample.index)
        # Built anew, as a plug-in may do it: the number of the image is not lost.
        return Sample(sample.image, target, weight)


def _other_class(index: int) -> tuple[Label, float]:
    return Label((index + 1) % 3), 0.25 * (index + 1)


def _soft(index: int) -> tuple[Target, float]:
    return (Labels(np.array([0.25, 0.75, 0.0], dtype=np.float32)) if index % 2 else Label(2)), 1.0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_batch_has_the_targets_and_weights_of_the_augmented_samples(make_split, workers, copies):
    split = make_split(10)
    loader = train_loader(split, workers=workers, copies=copies, augment=Augment((Relabel(_other_class),)))
    seen = set()
    for batch in loader.batches(0):
        clean = 0 if copies == 1 else len(batch) // copies
        for row, (index, target, weight) in enumerate(zip(batch.indices, batch.targets, batch.weights, strict=True)):
            expected = (split.target(int(index)), 1.0) if row < clean else _other_class(int(index))
            assert (Label(int(target)), float(weight)) == expected
            seen.add(int(index))
    loader.close()
    assert seen == set(range(10))


def test_class_indices_beside_probabilities_become_probabilities(make_split):
    for workers in (0, 1):
        loader = train_loader(make_split(6), workers=workers, augment=Augment((Relabel(_soft),)))
        for batch in loader.batches(0):
            for index, target in zip(batch.indices, batch.targets, strict=True):
                assert target.tolist() == ([0.25, 0.75, 0.0] if index % 2 else [0.0, 0.0, 1.0])
        loader.close()


def test_labels_changed_in_place_are_as_they_were_in_the_next_epoch(make_split):
    split = replace(make_split(4), targets=np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])

    def clear(sample, rng):
        del rng
        sample.target.probabilities[:] = 0
        return sample

    loader = train_loader(split, augment=Augment((clear,)))
    assert all(not batch.targets.any() for batch in loader.batches(0))
    assert split.targets.sum() == 4


def test_targets_of_different_widths_are_one_clear_line(make_split):
    loader = train_loader(make_split(4), augment=Augment((Relabel(lambda index: (Labels(np.ones(2 + index % 2, np.float32)), 1.0)),)))
    with pytest.raises(UserError, match=r"shapes \(2,\), \(3,\)"):
        list(loader.batches(0))


@pytest.mark.parametrize("target", [2, np.ones(3, np.float32)])
def test_a_bare_number_for_a_target_is_one_clear_line(make_split, target):
    loader = train_loader(make_split(4), augment=Augment((Relabel(lambda _: (target, 1.0)),)))
    with pytest.raises(UserError, match=rf"target of a Sample is a {type(target).__name__}: write Label"):
        list(loader.batches(0))
