import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from dataloader.sample import Batch, Sample, Unreadable, blank_images, stack
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.label import Label, Labels
from dataloader.targets.mask import Mask
from dataloader.targets.unknown import Unknown
from utils.errors import UserError

IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


def test_batch_carries_targets_weights_and_indices():
    samples = [Sample(IMAGE, target=Label(2), weight=0.5, index=7), Sample(IMAGE, target=Label(0), index=3)]
    batch = stack([each.row() for each in samples], torch.zeros(2, 3, 4, 4, dtype=torch.uint8), unreadable=(Unreadable("a.png", "empty"),))
    assert len(batch) == 2
    assert (batch.targets.tolist(), batch.targets.dtype) == ([2, 0], torch.int64)
    assert (batch.weights.tolist(), batch.indices.tolist()) == ([0.5, 1.0], [7, 3])
    assert batch.unreadable[0].path == "a.png"


def test_probability_targets_stay_probabilities():
    samples = [Sample(IMAGE, target=Labels(np.array([0.25, 0.75]))), Sample(IMAGE, target=Labels(np.array([1.0, 0.0])))]
    batch = stack([each.row() for each in samples], torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert batch.targets.dtype == torch.float32
    assert batch.targets.tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_every_tensor_of_a_batch_moves_with_it():
    batch = stack([Sample(IMAGE, target=Label(1)).row()], torch.zeros(1, 3, 4, 4, dtype=torch.uint8)).to("meta")
    assert {tensor.device.type for tensor in (batch.images, batch.targets, batch.weights, batch.indices)} == {"meta"}


def test_a_batch_survives_the_way_out_of_a_process():
    sample = Sample(IMAGE, target=Label(1), weight=0.5, index=9)
    batch = stack([sample.row()], torch.ones(1, 3, 4, 4, dtype=torch.uint8), unreadable=(Unreadable("a", "b"),))
    again = pickle.loads(pickle.dumps(batch))
    assert torch.equal(again.images, batch.images)
    assert (again.targets.tolist(), again.weights.tolist(), again.indices.tolist()) == ([1], [0.5], [9])
    assert again.unreadable == batch.unreadable


TARGETS = [
    [Label(2), Label(0)],
    [Labels(np.ones(3)), Label(1)],
    [Mask(np.full((4, 4), number, np.uint16)) for number in (1, 500)],
    [Boxes(np.ones((number, 4), np.float32), np.arange(number), (4, 4)) for number in (0, 2)],
    [Unknown(), Unknown()],
]


@pytest.mark.parametrize("targets", TARGETS, ids=lambda targets: type(targets[0]).__name__)
def test_every_kind_of_target_survives_the_way_out_of_a_process_and_moves_with_its_batch(targets):
    batch = stack([Sample(IMAGE, target).row() for target in targets], torch.ones(2, 3, 4, 4, dtype=torch.uint8))
    # As between the processes of torch's loader.
    again = pickle.loads(ForkingPickler.dumps(batch))
    parts = ("corners", "classes", "counts", "crowd", "areas") if isinstance(batch.targets, BoxBatch) else ("data",)
    for part in parts:
        one, other, moved = (getattr(each.targets, part) for each in (batch, again, batch.to("meta")))
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist())
        assert moved.device.type == "meta"


def test_a_batch_for_prediction_has_no_targets_and_all_its_images_count():
    batch = Batch.unlabeled(torch.zeros(3, 3, 2, 2, dtype=torch.uint8))
    assert batch.targets.shape == (3, 0)
    assert batch.weights.tolist() == [1, 1, 1]
    assert batch.indices.tolist() == [0, 1, 2]


def test_boxes_leave_a_process_as_plain_numbers_and_masks_as_shared_memory():
    masks, boxes = (stack([Sample(IMAGE, target).row() for target in TARGETS[kind]], torch.ones(2, 3, 4, 4)).about() for kind in (2, 3))
    assert isinstance(masks.targets, torch.Tensor), "a tensor is shared with the other process, an array copied through a pipe"
    assert b"torch" not in pickle.dumps(boxes).partition(b"_boxes_of")[2]


@pytest.mark.parametrize("target", [1, np.ones(3), None])
def test_a_target_that_is_none_is_refused_in_one_line(target):
    with pytest.raises(UserError, match=rf"the target of a Sample is a {type(target).__name__}: write Label\(number\)"):
        Sample(IMAGE, target)


@pytest.mark.parametrize("shared", [False, True])
def test_blank_images_lie_row_by_row(shared):
    images = blank_images(3, 4, 5, shared=shared)
    assert (images.shape, images.dtype, images.is_shared()) == ((3, 3, 4, 5), torch.uint8, shared)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_sample_and_batch_are_read_only():
    with pytest.raises(AttributeError):
        Sample(IMAGE, target=Label(1)).target = Label(2)  # pyright: ignore[reportAttributeAccessIssue]
