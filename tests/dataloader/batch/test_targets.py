"""Masks and boxes follow a batch to another size; what needs labels says so."""

import numpy as np
import pytest
import torch

from dataloader.batch.multi_scale import MultiScale
from dataloader.batch.targets import resized, to_dense
from dataloader.sample import Batch
from dataloader.targets.boxes import BoxBatch, Boxes
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import scaled
from dataloader.targets.unknown import Unknown
from utils.errors import UserError


def boxes(seed: int) -> Boxes:
    places = np.random.default_rng(seed).uniform(0, 30, (seed, 2, 2))
    corners = np.concatenate([places.min(1), places.max(1)], axis=1).astype(np.float32)
    more = {"crowd": np.arange(seed) % 2 == 0, "areas": np.arange(seed, dtype=np.float32)}
    return Boxes(corners, np.arange(seed), (30, 40), least_visible=0.0, **more)


@pytest.mark.parametrize("after", [(15, 20), (45, 60), (7, 9), (30, 40)])
def test_masks_and_boxes_are_resized_as_single_ones_are(after: tuple[int, int]) -> None:
    masks = [Mask(np.random.default_rng(seed).integers(0, 5, (30, 40), dtype=np.uint8)) for seed in range(3)]
    change = scaled((30, 40), after)
    found = resized(Mask.stack(masks), (30, 40), after)
    assert isinstance(found, torch.Tensor)
    assert torch.equal(found, Mask.stack([mask.moved(change) for mask in masks]))
    several = [boxes(seed) for seed in (2, 0, 3)]
    stacked, expected = resized(Boxes.stack(several), (30, 40), after), Boxes.stack([each.moved(change) for each in several])
    assert isinstance(stacked, BoxBatch)
    torch.testing.assert_close(stacked.corners, expected.corners)
    assert (stacked.classes.tolist(), stacked.counts.tolist()) == (expected.classes.tolist(), [2, 0, 3])
    torch.testing.assert_close(stacked.areas, expected.areas)
    assert stacked.crowd.tolist() == [True, False, True, False, True]


def test_what_is_colored_by_its_mask_still_is_after_multi_scale() -> None:
    ids = np.zeros((56, 56), np.uint8)
    ids[10:30, 16:40] = 1
    images = torch.from_numpy(ids * 200).expand(2, 3, 56, 56)
    batch = Batch(images, Mask.stack([Mask(ids)] * 2), torch.ones(2), torch.arange(2))
    sizes = set()
    for step in range(12):
        done = MultiScale(seed=0)(batch, step, 0)
        sizes.add(done.images.shape[2:])
        assert isinstance(done.targets, torch.Tensor)
        assert done.targets.shape[1:] == done.images.shape[2:]
        wrong = (done.images[:, 0] > 100) != (done.targets == 1)
        # Along the border of the rectangle the resized pixels are mixed.
        assert wrong.float().mean() < 0.03
    assert len(sizes) > 3


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (Mask.stack([Mask(np.zeros((3, 3), np.uint8))]), "have masks"),
        (Boxes.stack([boxes(2)]), "have boxes"),
        (Unknown.stack([Unknown()] * 2), "have no targets"),
    ],
)
def test_what_is_no_label_is_not_taken_for_one(targets, message: str) -> None:
    with pytest.raises(UserError, match=message):
        to_dense(targets, 3)
