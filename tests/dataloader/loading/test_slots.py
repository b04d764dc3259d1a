import os
import pickle

import torch

from dataloader.loading.slots import PIXELS, Slots


def test_what_is_left_in_a_slot_is_found_through_another_opening():
    slots = Slots.make(3, 2 * 4 * 5 * 3)
    assert slots is not None
    images = slots.images(1, 2, 4, 5)
    assert images is not None
    assert (images.shape, images.is_contiguous(memory_format=torch.channels_last)) == ((2, 3, 4, 5), True)
    images.fill_(7)
    copied = slots.copied(1, (2, 4, 5, 3), PIXELS).permute(0, 3, 1, 2)
    images[0].fill_(9)
    assert (copied == 7).all()
    assert copied.is_contiguous(memory_format=torch.channels_last)
    images.fill_(7)
    again = pickle.loads(pickle.dumps(slots))
    assert (again.images(1, 2, 4, 5) == 7).all()
    assert (again.images(0, 2, 4, 5) == 0).all()
    assert (again.images(2, 2, 4, 5) == 0).all()


def test_images_that_do_not_fit_are_refused():
    slots = Slots.make(2, 100)
    assert slots is not None
    assert slots.images(0, 3, 4, 3) is None
    assert slots.images(0, 2, 4, 4) is not None


def test_the_memory_ends_with_the_slots():
    slots = Slots.make(2, 100)
    assert slots is not None
    place = slots.place
    assert os.path.exists(place)
    del slots
    assert not os.path.exists(place)
