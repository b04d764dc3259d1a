import pytest

from dataloader.loading.size_schedule import parse_sizes
from utils.errors import UserError


def test_small_images_come_first_and_the_full_size_last():
    sizes = parse_sizes("128:0.5,160:0.8,224", (224, 224), 10)
    assert [sizes.at(epoch)[1] for epoch in range(10)] == [128] * 5 + [160] * 3 + [224] * 2
    assert sizes.at(30) == (224, 224)
    assert sizes.all() == [(128, 128), (160, 160), (224, 224)]


def test_the_last_width_may_be_left_out_and_the_aspect_ratio_stays():
    assert parse_sizes("64:0.5", (100, 200), 4).at(0) == (32, 64)
    assert parse_sizes("64:0.5", (100, 200), 4).at(2) == (100, 200)


def test_a_stage_of_no_epoch_is_left_out():
    assert parse_sizes("64:0.1,128:1.0", (200, 200), 3).all() == [(128, 128), (200, 200)]


@pytest.mark.parametrize("text", ["128:0.8,160:0.5,224", "128:2", "0:0.5,224", "a,224", "128:0.5;224", ",", "128:0,224"])
def test_what_cannot_be_read_is_shown_with_the_form(text):
    with pytest.raises(UserError, match="rising shares"):
        parse_sizes(text, (224, 224), 10)


def test_another_size_at_the_end_than_validation_sees_is_refused():
    with pytest.raises(UserError, match="ends with the width 192, but --image_size has 224"):
        parse_sizes("128:0.5,192", (224, 224), 10)
