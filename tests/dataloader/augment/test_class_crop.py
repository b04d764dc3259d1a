"""Crops are at the scale of the image, hold the class that was drawn, and keep the mask on its pixels."""

import numpy as np

from dataloader.augment.class_crop import ClassCrop, middle_of
from dataloader.images.picture import whole
from dataloader.sample import Sample
from dataloader.targets.mask import IGNORE, Mask


def sample(size: tuple[int, int] = (60, 90)) -> Sample:
    """Return an image whose mask can be read from its pixels, with one pixel of a rare class."""
    ids = (np.arange(size[0])[:, None] // 20 + np.arange(size[1])[None] // 30).astype(np.uint8)
    ids[7, 71] = 9
    return Sample(np.repeat(ids[..., None], 3, axis=2) * 20, Mask(ids))


def test_the_mask_stays_on_its_pixels() -> None:
    for seed in range(50):
        found = ClassCrop((24, 32))(sample(), np.random.default_rng(seed))
        assert isinstance(found.target, Mask)
        assert found.image.shape == (24, 32, 3)
        np.testing.assert_array_equal(found.target.ids * 20, found.image[..., 0])


def test_a_rare_class_is_in_a_fair_share_of_the_aimed_crops() -> None:
    def share(aimed: float) -> float:
        crop = ClassCrop((24, 32), aimed)
        return np.mean([9 in crop(sample(), np.random.default_rng(seed)).target.ids for seed in range(300)])  # pyright: ignore[reportAttributeAccessIssue]

    assert share(1.0) > share(0.0) + 0.08, "one class of six is drawn"


def test_a_small_image_is_padded_with_what_is_ignored() -> None:
    found = ClassCrop((64, 128))(sample(), np.random.default_rng(0))
    assert isinstance(found.target, Mask)
    np.testing.assert_array_equal(found.target.ids[:60, :90], sample().target.ids)  # pyright: ignore[reportAttributeAccessIssue]
    assert (found.target.ids[60:] == IGNORE).all()
    assert (found.target.ids[:, 90:] == IGNORE).all()
    assert (found.image[60:] == 0).all()


def test_an_unlabeled_mask_is_cropped_anywhere() -> None:
    bare = Sample(sample().image, Mask(np.full((60, 90), IGNORE, np.uint8)))
    assert ClassCrop((24, 32), 1.0)(bare, np.random.default_rng(0)).image.shape == (24, 32, 3)


def test_validation_sees_the_middle() -> None:
    given = sample()
    picture = middle_of(whole(given.image), (20, 30))
    moved = picture.follow(given.target)
    assert isinstance(moved, Mask)
    np.testing.assert_array_equal(picture.image, given.image[20:40, 30:60])
    np.testing.assert_array_equal(moved.ids, given.target.ids[20:40, 30:60])  # pyright: ignore[reportAttributeAccessIssue]
