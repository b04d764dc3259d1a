import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataloader.images.preprocess import RESIZES, Normalize, Preprocess, fit_images, fit_pixels
from dataloader.targets.boxes import Boxes
from dataloader.targets.mask import Mask
from tests.dataloader.targets.aligned_rectangles import purified
from utils.errors import UserError

SIZES = [(1, 5000), (5000, 1), (1, 1), (3, 4), (37, 91), (91, 37), (64, 48), (480, 640)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 7 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def difference(pixels: torch.Tensor, expected: np.ndarray) -> int:
    return int(np.abs(pixels[0].permute(1, 2, 0).numpy().astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", RESIZES)
def test_every_image_gets_the_wanted_size(mode, size):
    images = fit_images(tensor(picture(*size)), 64, 48, mode)
    assert (images.shape, images.dtype) == ((1, 3, 64, 48), torch.uint8)


@pytest.mark.parametrize("size", [(37, 91), (480, 640), (20, 15)])
def test_stretch_is_the_resize_of_pillow(size):
    image = picture(*size)
    expected = np.asarray(Image.fromarray(image).resize((48, 64), Image.Resampling.BILINEAR))
    assert difference(fit_images(tensor(image), 64, 48, "stretch"), expected) <= 1


def test_fit_keeps_the_aspect_and_centers_between_black_borders():
    image = picture(30, 60)
    expected = np.zeros((40, 40, 3), dtype=np.uint8)
    expected[10:30] = np.asarray(Image.fromarray(image).resize((40, 20), Image.Resampling.BILINEAR))
    assert difference(fit_images(tensor(image), 40, 40, "fit"), expected) <= 1
    turned = fit_images(tensor(image).transpose(2, 3).contiguous(), 40, 40, "fit")
    assert turned[..., :10].max() == 0 == turned[..., 30:].max()
    assert turned[..., 10:30].max() > 0


def test_crop_is_the_largest_centered_rectangle():
    image = picture(30, 60)
    expected = np.asarray(Image.fromarray(image[:, 15:45]).resize((20, 20), Image.Resampling.BILINEAR))
    assert difference(fit_images(tensor(image), 20, 20, "crop"), expected) <= 1
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    assert difference(fit_images(tensor(turned), 20, 20, "crop"), expected.transpose(1, 0, 2)) <= 1


@pytest.mark.parametrize("mode", RESIZES)
def test_an_image_of_the_right_size_is_left_alone(mode):
    images = tensor(picture(20, 30))
    assert fit_images(images, 20, 30, mode) is images


def test_geometry_does_not_depend_on_the_batch_or_the_memory_format():
    images = torch.cat([tensor(picture(37, 91)), 255 - tensor(picture(37, 91))])
    together = fit_images(images.contiguous(), 20, 30, "fit")
    for number in (0, 1):
        alone = fit_images(images[number : number + 1].contiguous(memory_format=torch.channels_last), 20, 30, "fit")
        assert torch.equal(together[number], alone[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_geometry_gives_the_same_pixels():
    scripted = torch.jit.script(fit_images)
    for size in SIZES:
        for mode in RESIZES:
            images = tensor(picture(*size))
            assert torch.equal(scripted(images, 33, 24, mode), fit_images(images, 33, 24, mode))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="fit, crop or stretch"):
        fit_images(tensor(picture(4, 4)), 8, 8, "squeeze")
    with pytest.raises(UserError, match="Did you mean crop"):
        Preprocess(resize="crops")


def test_apply_uses_height_and_width_in_this_order():
    pixels = Preprocess(image_size=(20, 30)).apply(picture(50, 40))
    assert (pixels.shape, pixels.dtype) == ((3, 20, 30), torch.uint8)


def test_apply_takes_views_of_any_stride():
    image = picture(20, 30)[::-1, 2:22:2]
    preprocess = Preprocess(image_size=(16, 16))
    assert torch.equal(preprocess.apply(image), preprocess.apply(image.copy()))


@pytest.mark.parametrize("mode", RESIZES)
def test_one_image_is_fitted_to_the_same_pixels_row_by_row(mode):
    image = np.random.default_rng(0).integers(0, 256, (37, 23, 3), dtype=np.uint8)
    expected = fit_images(torch.from_numpy(image).permute(2, 0, 1)[None].contiguous(), 16, 20, mode)[0].permute(1, 2, 0)
    fitted = fit_pixels(image, 16, 20, mode)
    assert np.array_equal(fitted, expected.numpy())
    assert fitted.flags.c_contiguous, "pixels lie beside one another, as the batch has them"


def test_preprocess_survives_json():
    preprocess = Preprocess(image_size=(32, 48), resize="crop", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@pytest.mark.parametrize("values", [{"image_sise": [3, 3]}, {"image_size": [0, 3]}, {"std": [0.0, 1.0, 1.0]}, {"mean": [0.5]}])
def test_wrong_preprocess_values_are_user_errors(values):
    with pytest.raises(UserError):
        Preprocess.from_dict(values)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalize_is_the_textbook_formula(dtype):
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8).to(dtype).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    normalized = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(images)
    assert normalized.dtype == torch.float32
    assert torch.allclose(normalized, (images / 255 - mean) / std, atol=1e-6)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_normalize_by_one_number_is_that_of_the_brightness():
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    red, green, blue = images.double().unbind(1)
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(Normalize((0.4,), (0.2,))(images)[:, 0].double(), (gray / 255 - 0.4) / 0.2, atol=1e-5, rtol=1e-5)
    equal = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(Normalize((0.0,), (1.0,))(equal), equal[:, :1] / 255)


def test_numbers_for_brightness_come_from_those_for_colors_and_back():
    numbers = Preprocess(mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    gray = numbers.seeing(1)
    assert gray.mean == pytest.approx((0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6,))
    assert gray.std == pytest.approx((0.2,))
    assert numbers.seeing(3) is numbers
    assert gray.seeing(3).mean == gray.mean * 3

    assert Preprocess.from_dict(gray.to_dict()) == gray
    with pytest.raises(UserError, match="one for brightness"):
        Preprocess(mean=(0.5,), std=(0.1, 0.2, 0.3))


def test_a_fourth_channel_is_normalized_by_the_mean_of_the_three_until_it_is_known():
    numbers = Preprocess(mean=(0.1, 0.2, 0.6), std=(0.2, 0.3, 0.4))
    four = numbers.seeing(4)
    assert (four.bands, numbers.bands, numbers.seeing(1).bands) == (4, 3, 3)
    assert four.mean == pytest.approx((0.1, 0.2, 0.6, 0.3))
    assert four.std == pytest.approx((0.2, 0.3, 0.4, 0.3))
    assert four.seeing(3) == numbers
    assert four.seeing(1) == numbers.seeing(1)
    assert numbers.seeing(1).seeing(4).mean == pytest.approx(numbers.seeing(1).mean * 4)
    images = torch.randint(0, 256, (2, 4, 5, 6), dtype=torch.uint8)
    expected = (images / 255 - torch.tensor(four.mean).view(1, 4, 1, 1)) / torch.tensor(four.std).view(1, 4, 1, 1)
    torch.testing.assert_close(Normalize(four.mean, four.std)(images), expected)


def test_four_channels_are_resized_each_by_itself():
    image = np.random.default_rng(0).integers(0, 256, (31, 47, 4), dtype=np.uint8)
    whole = fit_pixels(image, 20, 24, "fit")
    assert np.array_equal(whole[:, :, :3], fit_pixels(image[:, :, :3], 20, 24, "fit"))
    assert np.array_equal(whole[:, :, 1:], fit_pixels(image[:, :, 1:], 20, 24, "fit"))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("module", [Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), Normalize((0.5,), (0.2,))])
def test_scripted_normalize_gives_the_same_numbers(module):
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    assert torch.equal(torch.jit.script(module)(images), module(images))


def test_normalize_lets_gradients_through():
    images = torch.full((1, 3, 2, 2), 100.0, requires_grad=True)
    Normalize((0.5, 0.5, 0.5), (0.5, 0.25, 0.1))(images).sum().backward()
    assert images.grad is not None
    assert torch.allclose(images.grad[0, :, 0, 0], torch.tensor([1 / (255 * std) for std in (0.5, 0.25, 0.1)]))


SIDE = st.one_of(st.integers(1, 3), st.integers(4, 300))
SIZE = st.tuples(SIDE, SIDE)
SEEN = st.tuples(st.integers(1, 80), st.integers(1, 80))


@settings(max_examples=150, deadline=None)
@given(size=SIZE, image_size=SEEN, mode=st.sampled_from(RESIZES))
def test_the_change_says_where_each_pixel_comes_from(size: tuple[int, int], image_size: tuple[int, int], mode: str) -> None:
    preprocess = Preprocess(image_size, mode)
    change = preprocess.change(size)
    # Brightness grows evenly, along x in one channel and along y in another, so that it tells the place.
    steps = 200 / np.array(size[::-1])
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = np.rint((np.arange(size[1]) + 0.5) * steps[0] + 50)[None, :]
    image[..., 1] = np.rint((np.arange(size[0]) + 0.5) * steps[1] + 50)[:, None]
    seen = preprocess.apply(image).permute(1, 2, 0).numpy().astype(float)
    known = Mask(np.zeros(size, np.uint8)).moved(change)
    assert known.ids.shape == image_size == seen.shape[:2]
    assert ((seen.max(-1) == 0) == (known.ids == known.ignore)).all(), "what is padded, and nothing else, is ignored"
    # Beyond the center of the outermost pixel that is kept there is nothing to interpolate with.
    back = change.undone(size)
    corners = back.move_points(np.array([[0, 0], image_size[::-1]])).clip(0, size[::-1])
    centers = np.stack(np.meshgrid(np.arange(image_size[1]) + 0.5, np.arange(image_size[0]) + 0.5), axis=-1)
    before = back.move_points(centers.reshape(-1, 2)).clip(corners[0] + 0.5, corners[1] - 0.5).reshape(*image_size, 2)
    error = np.abs(seen[..., :2] - (before * steps + 50))
    inner = purified(known).ids != known.ignore
    assert (error[inner] <= 2.01).all(), "two roundings"
    # At a border that is reduced, the weights of the neighbors outside fall to those inside.
    reach = np.maximum(1 / np.array([change.rows[0][0], change.rows[1][1]]), 1) * steps
    assert (error[known.ids != known.ignore] <= 2.01 + 0.3 * reach).all()


@settings(max_examples=100, deadline=None)
@given(size=SIZE, image_size=SEEN, mode=st.sampled_from(RESIZES), data=st.data())
def test_a_predicted_mask_and_its_boxes_return_at_the_original_size_without_the_padded_border(
    size: tuple[int, int], image_size: tuple[int, int], mode: str, data: st.DataObject
) -> None:
    change = Preprocess(image_size, mode).change(size)
    back = change.undone(size)
    # What is said of the padded border is 9, of each kept pixel its place.
    kept = Mask(np.zeros(size, np.uint8)).moved(change).ids == 0
    predicted = np.where(kept, np.arange(kept.size).reshape(kept.shape), -9).astype(np.int32)
    returned = Mask(predicted, ignore=-1).moved(back).ids
    assert returned.shape == size
    assert not (returned == -9).any(), "the border is gone"
    if mode != "crop":
        assert not (returned == -1).any(), "every pixel has an answer"
    rows, columns = np.divmod(returned, image_size[1])
    there = change.move_points(np.argwhere(returned >= 0)[:, ::-1] + 0.5)
    found = np.stack([columns, rows], axis=-1)[returned >= 0]
    assert (np.abs(there - (found + 0.5)) <= 0.5 + 1e-6).all(), "each pixel has the answer that was given where it was seen"
    left, right = sorted(data.draw(st.tuples(*[st.floats(0, image_size[1])] * 2)))
    top, bottom = sorted(data.draw(st.tuples(*[st.floats(0, image_size[0])] * 2)))
    boxes = Boxes(np.array([[left, top, right, bottom]], dtype=np.float32), np.array([0]), image_size, least_visible=0.0).moved(back)
    for corners in boxes.corners:
        assert (corners >= 0).all()
        assert (corners <= [size[1], size[0], size[1], size[0]]).all()
        again = change.move_points(corners.reshape(2, 2)).ravel()
        assert (again >= np.array([left, top, left, top]) - 1e-3).all()
        assert (again <= np.array([right, bottom, right, bottom]) + 1e-3).all()


@pytest.mark.parametrize(
    ("mode", "expected"), [("fit", [[20, 25, 40, 75]]), ("stretch", [[20, 12.5, 40, 37.5]]), ("crop", [[20, 50, 40, 100]])]
)
def test_a_box_goes_to_the_model_and_back(mode, expected):
    size = {"fit": (50, 100), "stretch": (200, 100), "crop": (200, 100)}[mode]
    change = Preprocess((100, 100), mode).change(size)
    start = {"fit": [20, 0, 40, 50], "stretch": [20, 25, 40, 75], "crop": [20, 100, 40, 150]}[mode]
    boxes = Boxes(np.array([start], dtype=np.float32), np.array([0]), size)
    seen = boxes.moved(change)
    assert seen.corners.tolist() == expected
    assert seen.moved(change.undone(size)).corners.tolist() == [start]
