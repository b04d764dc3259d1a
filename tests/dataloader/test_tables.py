"""Contracts that every row of the data shelf's tables keeps."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from dataloader import AUGMENT_PRESETS, AUGMENTS, MIXES, SOURCES
from dataloader.augment.chain import build_augment
from dataloader.opening.open_catalog import open_catalog
from dataloader.sample import Batch, Sample
from dataloader.targets.label import Label
from utils.randomness import numpy_rng

# Operations that need an argument, or do nothing without one.
EXAMPLES = {
    "Affine": "Affine(rotate=30)",
    "CenterCrop": "CenterCrop(10, 12)",
    "OneOf": "OneOf('flip', 'erase|rotate', 'resized_crop', p=0.9)",
    "LongestMaxSize": "LongestMaxSize(12)",
    "RandomCrop": "RandomCrop(10, 12)",
    "RandomResizedCrop": "RandomResizedCrop((9, 12))",
    "Resize": "Resize(16, 20)",
    "SmallestMaxSize": "SmallestMaxSize(12)",
}
# They need other images, with boxes: test_mosaic.py.
OF_SEVERAL = {"mosaic", "box_mixup", "mosaic_hsv"}
SPECS = [EXAMPLES.get(name, name) for name in [*AUGMENTS, *AUGMENT_PRESETS] if name not in OF_SEVERAL]
SHAPES = [(1, 1), (1, 40), (40, 1), (24, 17)]


def sample(height: int = 24, width: int = 17) -> Sample:
    image = np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(image, target=Label(2), weight=0.5, index=9)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", SHAPES)
def test_augmentation_gives_an_image_and_keeps_everything_else(spec, shape):
    augment = build_augment(spec).at((20, 28))
    given = sample(*shape)
    before = given.image.copy()
    for draw in range(8):
        result = augment(given, numpy_rng(draw))
        assert result.image.dtype == np.uint8
        assert result.image.ndim == 3
        assert result.image.shape[2] == 3
        assert min(result.image.shape) >= 1
        assert (result.target, result.weight, result.index) == (Label(2), 0.5, 9)
    assert np.array_equal(given.image, before)


@pytest.mark.parametrize("spec", SPECS)
def test_augmentation_follows_from_its_generator_alone_and_does_something(spec):
    torch.manual_seed(0)
    np.random.seed(0)
    images = [build_augment(spec)(sample(), numpy_rng(draw)).image for draw in range(12)]
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(1)
    again = [build_augment(spec)(sample(), numpy_rng(draw)).image for draw in reversed(range(12))][::-1]
    assert all(np.array_equal(one, two) for one, two in zip(images, again, strict=True))
    assert any(not np.array_equal(image, sample().image) for image in images)
    torch.manual_seed(0)
    np.random.seed(0)
    assert after == (torch.rand(1), np.random.rand()), "the global generators stay where they were"


@pytest.mark.parametrize("spec", SPECS)
def test_augmentation_can_be_sent_to_a_worker(spec):
    augment = pickle.loads(pickle.dumps(build_augment(spec)))
    assert np.array_equal(augment(sample(), numpy_rng(3)).image, build_augment(spec)(sample(), numpy_rng(3)).image)


def batch(count: int = 6) -> Batch:
    images = torch.randint(0, 256, (count, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.arange(count) % 3, torch.linspace(0.5, 1, count), torch.arange(count))


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_mix_gives_float_images_and_dense_targets(name, ratio):
    mix = MIXES.resolve(name)(alpha=0.4, ratio=ratio, num_classes=3, seed=0)
    mixed = mix(batch(), 5, 0)
    assert (mixed.images.shape, mixed.images.dtype) == ((6, 3, 4, 5), torch.float32)
    assert mixed.images.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= mixed.images.min() <= mixed.images.max() <= 255
    assert (mixed.targets.shape, mixed.targets.dtype) == ((6, 3), torch.float32)
    assert torch.allclose(mixed.targets.sum(1), torch.ones(6))
    assert (mixed.weights.shape, mixed.weights.dtype) == ((6,), torch.float32)


@pytest.mark.parametrize("name", MIXES)
def test_mix_follows_from_seed_step_and_rank_alone(name):
    def mixed(seed: int, step: int, rank: int) -> torch.Tensor:
        return MIXES.resolve(name)(alpha=1.0, ratio=1.0, num_classes=3, seed=seed)(batch(), step, rank).images

    torch.manual_seed(1)
    first = mixed(0, 1, 2)
    torch.manual_seed(2)
    assert torch.equal(first, mixed(0, 1, 2))
    assert not any(torch.equal(first, mixed(*position)) for position in [(1, 1, 2), (0, 2, 2), (0, 1, 1)])


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.usefixtures("fake_downloads")
def test_source_opens_as_a_catalog_with_all_splits(name, tmp_path):
    catalog = open_catalog(name, home=tmp_path)
    assert set(catalog.splits) == {"train", "val", "test"}
    assert len(catalog.classes) >= 2
    assert catalog.notes == ()


def test_tables_do_not_need_torch():
    code = "import sys, dataloader, dataloader.options; assert not {'torch', 'cv2', 'PIL', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
