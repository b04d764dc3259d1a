"""Image, mask and box stay on each other through every operation of the table, and through chains of them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader import AUGMENTS
from dataloader.augment.chain import build_augment
from dataloader.augment.flip import flip_horizontal
from dataloader.augment.operation import Operation
from dataloader.images.preprocess import Preprocess
from dataloader.sample import Sample
from dataloader.targets.boxes import Boxes
from dataloader.targets.label import Label
from dataloader.targets.mask import Mask
from dataloader.targets.plane_change import cropped
from tests.dataloader.targets.aligned_rectangles import box_of, is_cut, misplaced, off_center, paint, purified, told_apart
from utils.errors import UserError
from utils.randomness import numpy_rng

# What makes an operation act always and strongly, or leaves enough of the colors to look at.
EXAMPLES = {
    "flip": "flip(1)",
    "crop": "crop(0.4, p=1)",
    "rotate": "rotate(60, p=1)",
    "erase": "erase(1, scale=(0.002, 0.005))",
    "CoarseDropout": "CoarseDropout((1, 1), (0.05, 0.08), (0.05, 0.08), p=1)",
    "randaug": "randaug(1, m=20)",
    "GaussNoise": "GaussNoise((0.05, 0.1), p=1)",
    "OneOf": "OneOf('flip', 'rotate(40, p=1)|crop', p=1)",
    "Affine": "Affine(scale=(0.7, 1.2), rotate=(-40, 40), translate_percent=0.1, shear=(-10, 10), p=1)",
    "ElasticTransform": "ElasticTransform(alpha=200, sigma=12, p=1)",
    "CenterCrop": "CenterCrop(70, 110)",
    "RandomCrop": "RandomCrop(50, 60)",
    "RandomResizedCrop": "RandomResizedCrop((90, 70), scale=(0.3, 1))",
    "Resize": "Resize(80, 90)",
    "SmallestMaxSize": "SmallestMaxSize(50)",
    "LongestMaxSize": "LongestMaxSize(130)",
    "RandomRotate90": "RandomRotate90",
    "autoaugment": "autoaugment",
    "trivialaugment": "trivialaugment",
    "augmix": "augmix",
    "color": "color(p=1)",
    "distort": "distort",
    "resized_crop": "resized_crop((0.3, 1))",
}
MORE = [
    "Rotate(60, crop_border=True, p=1)",
    "Perspective(0.15, keep_size=False, p=1)",
    "Perspective(0.1, fit_output=True, p=1)",
    "Affine(rotate=(-50, 50), fit_output=True, p=1)",
    "RandomCrop(100, 140)",
    "CenterCrop(40, 200)",
    "OneOf('trivialaugment|flip', 'Perspective', p=0.8)",
]
# They need other images: test_mosaic.py.
OF_SEVERAL = {"mosaic", "box_mixup"}
SPECS = [EXAMPLES.get(name, f"{name}(p=1)") for name in AUGMENTS if name not in OF_SEVERAL] + MORE
REFUSED = ["augmix"]
SIZE, RECTANGLE = (84, 100), (12, 18, 55, 42)


def tears(operation: Operation, draws: int = 12) -> str:
    """Return in which way an operation tears the image from its mask or its box; '' where it keeps them together."""
    image, mask, boxes = paint(SIZE, RECTANGLE)
    for draw in range(draws):
        seen = operation(Sample(image, mask), numpy_rng(draw))
        assert isinstance(seen.target, Mask)
        if seen.target.ids.shape != seen.image.shape[:2]:
            return "the mask has another size"
        # Steps within an operation, such as two of a policy, add up.
        sure = purified(seen.target, 2)
        if (sure.ids == sure.ignore).mean() > 0.75:
            return "the mask knows too little to be compared"
        if told_apart(seen.image, sure) < 0.95:
            return "the mask lies beside the object"
        boxed = operation(Sample(image, boxes), numpy_rng(draw))
        assert isinstance(boxed.target, Boxes)
        if not np.array_equal(boxed.image, seen.image):
            return "the pixels depend on the target"
        if not (seen.target.ids == 1).any():
            continue
        found, expected = boxed.target.corners[0], np.array(box_of(seen.target.ids))
        outward = np.array([1, 1, -1, -1]) * (expected - found)
        if seen.target is not mask and off_center(seen.image, seen.target, boxed.target) > 0.45:
            return "the mask lies a part of a pixel beside the object"
        if outward.min() < -1.01:
            return "the box leaves out a part of the object"
        if not is_cut(seen.target) and outward.max() > 1.6:
            return "the box is larger than the object"
    return ""


@pytest.mark.parametrize("spec", SPECS)
def test_every_operation_keeps_image_and_target_together_or_refuses_in_one_line(spec: str) -> None:
    augment = build_augment(spec).at((75, 90))
    if spec in REFUSED:
        for attempt in (augment.check_spatial, lambda: tears(augment), lambda: tears(augment.operations[0])):
            with pytest.raises(UserError, match=r"^.*no mask or box can follow.*\Z"):
                attempt()
    else:
        augment.check_spatial()
        assert tears(augment) == ""


def test_a_choice_refuses_what_one_of_its_chains_refuses() -> None:
    with pytest.raises(UserError, match="augmix"):
        build_augment("OneOf('flip|augmix', 'color')").check_spatial()


def torn_by_a_flip(sample: Sample, rng: np.random.Generator) -> Sample:
    del rng
    return replace(sample, image=flip_horizontal(sample.image))


def torn_by_a_shift(sample: Sample, rng: np.random.Generator) -> Sample:
    del rng
    return replace(sample, image=np.roll(sample.image, 5, axis=1))


def torn_by_half_a_pixel(sample: Sample, rng: np.random.Generator) -> Sample:
    del rng
    return sample.moved(sample.image[4:], cropped(4.5, 0, (SIZE[0] - 4, SIZE[1])))


def torn_by_boxes_that_stay(sample: Sample, rng: np.random.Generator) -> Sample:
    moved = build_augment("flip(1)")(sample, rng)
    return replace(moved, target=sample.target) if isinstance(sample.target, Boxes) else moved


TORN = [torn_by_a_flip, torn_by_a_shift, torn_by_half_a_pixel, torn_by_boxes_that_stay]


@pytest.mark.parametrize("operation", TORN)
def test_the_comparison_notices_an_operation_that_moves_the_image_alone(operation: Operation) -> None:
    assert tears(operation) != ""


def test_an_operation_of_the_users_own_that_changes_the_size_alone_is_refused(tmp_path) -> None:
    (tmp_path / "own.py").write_text(
        "import dataclasses\n"
        "def half():\n    return lambda sample, rng: dataclasses.replace(sample, image=sample.image[::2, ::2])\n"
        "def same():\n    return lambda sample, rng: dataclasses.replace(sample, image=255 - sample.image)\n"
    )
    image, mask, _ = paint(SIZE, RECTANGLE)
    with pytest.raises(UserError, match=r"sample\.moved"):
        build_augment(f"{tmp_path}/own.py:half")(Sample(image, mask), numpy_rng(0))
    assert build_augment(f"{tmp_path}/own.py:half")(Sample(image, Label(3)), numpy_rng(0)).image.shape == (42, 50, 3)
    assert build_augment(f"{tmp_path}/own.py:same")(Sample(image, mask), numpy_rng(0)).target is mask


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in REFUSED])
def test_pixels_are_those_that_a_label_gets(spec: str) -> None:
    augment = build_augment(spec).at((75, 90))
    image, mask, _ = paint(SIZE, RECTANGLE)
    for draw in range(4):
        labeled, seen = augment(Sample(image, Label(1)), numpy_rng(draw)), augment(Sample(image, mask), numpy_rng(draw))
        assert np.array_equal(labeled.image, seen.image)
        assert labeled.target == Label(1)


@pytest.mark.parametrize("spec", ["erase(1)", "CoarseDropout(p=1)", "color(p=1)", "GlassBlur(p=1)"])
def test_what_moves_nothing_leaves_the_target_alone(spec: str) -> None:
    image, mask, boxes = paint(SIZE, RECTANGLE)
    for target in (mask, boxes):
        assert build_augment(spec)(Sample(image, target), numpy_rng(1)).target is target


EXACT = ["flip(1)", "crop(0.4, p=1)", "VerticalFlip(p=1)", "RandomRotate90", "RandomCrop(50, 40)", "CenterCrop(30, 60)"]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(EXACT), max_size=5),
    size=st.tuples(st.integers(9, 90), st.integers(9, 90)),
    seed=st.integers(0, 1000),
)
def test_steps_of_whole_pixels_keep_image_mask_and_box_together_to_the_pixel(steps: list[str], size: tuple[int, int], seed: int) -> None:
    left, top = size[1] // 4, size[0] // 3
    image, mask, boxes = paint(size, (left, top, left + max(1, size[1] // 2), top + max(1, size[0] // 3)))
    augment = build_augment("|".join(steps))
    seen, boxed = augment(Sample(image, mask), numpy_rng(seed)), augment(Sample(image, boxes), numpy_rng(seed))
    assert isinstance(seen.target, Mask)
    assert isinstance(boxed.target, Boxes)
    assert misplaced(seen.image, seen.target, tolerance=0) == 0
    assert ((seen.target.ids == seen.target.ignore) == (seen.image == 0).all(-1)).all(), "what was padded, and nothing else, is ignored"
    found = boxed.target.corners.tolist()
    assert found == ([box_of(seen.target.ids)] if (seen.target.ids == 1).any() else [])


STEPS = ["flip(1)", "crop(0.4, p=1)", "rotate(180, p=1)", "resized_crop((0.4, 1))", "Perspective(p=1)", "RandomRotate90", "Resize(61, 47)",
         "Affine(scale=(0.8, 1.3), rotate=(-20, 20), p=1)", "VerticalFlip(p=1)", "RandomCrop(50, 50)"]  # fmt: skip


@dataclass
class Doubtful:
    """An operation after which the pixels of a mask that have another class beside them are no longer looked at."""

    operation: Operation

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        after = self.operation(sample, rng)
        assert isinstance(after.target, Mask)
        return replace(after, target=purified(after.target))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=4),
    height=st.integers(20, 120),
    width=st.integers(20, 120),
    fitted=st.tuples(st.integers(20, 100), st.integers(20, 100)),
    resize=st.sampled_from(["fit", "crop", "stretch"]),
    seed=st.integers(0, 1000),
)
def test_every_pixel_whose_neighbors_are_of_one_class_has_the_color_of_its_class_after_any_chain(
    steps: list[str], height: int, width: int, fitted: tuple[int, int], resize: str, seed: int
) -> None:
    left, top = width // 4, height // 5
    image, mask, _ = paint((height, width), (left, top, left + width // 2, top + height // 3))
    # What is enlarged is mixed among neighbors before, what is reduced among neighbors after.
    sample, preprocess = Sample(image, purified(mask)), Preprocess(fitted, resize)
    for number, step in enumerate(steps):
        sample = Doubtful(build_augment(step).at(fitted))(sample, numpy_rng(seed, number))
    change = preprocess.change((sample.image.shape[0], sample.image.shape[1]))
    pixels = preprocess.apply(sample.image).permute(1, 2, 0).numpy()
    assert isinstance(sample.target, Mask)
    moved = purified(sample.target.moved(change))
    assert moved.ids.shape == fitted
    assert misplaced(pixels, moved) == 0
