import numpy as np
import torch

from dataloader.batch.multi_scale import MultiScale, draw_width, possible_sizes
from dataloader.sample import Batch
from utils.randomness import Stream


def batch(height: int, width: int) -> Batch:
    images = torch.full((2, 3, height, width), 90, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.zeros(2, dtype=torch.int64), torch.ones(2), torch.arange(2))


def test_widths_are_normal_around_the_base_within_15_percent():
    widths = np.array([draw_width(448, Stream.SCALE, 0, step) for step in range(2000)])
    assert 448 * 0.84 < widths.min() < 448 * 0.87
    assert 448 * 1.13 < widths.max() < 448 * 1.16
    assert abs(widths.mean() - 448) < 3
    # Cutting a normal distribution at two deviations leaves 0.88 of its deviation.
    assert abs(widths.std() / 448 - 0.075 * 0.88) < 0.006


def test_a_gpu_sees_few_different_sizes_all_of_them_known_before():
    seen = {draw_width(224, Stream.SCALE, 0, step) for step in range(3000)}
    assert seen == {width for _, width in possible_sizes((224, 224))}
    assert len(seen) <= 10


def test_the_aspect_ratio_stays_and_every_process_gets_the_same_size():
    scale = MultiScale(seed=3)
    shapes = set()
    for step in range(20):
        images = scale(batch(56, 112), step, 0).images
        assert images.shape == scale(batch(56, 112), step, 1).images.shape
        height, width = images.shape[2:]
        assert abs(height - width / 2) <= 0.5
        assert images.dtype == torch.float32
        assert torch.allclose(images, torch.tensor(90.0))
        assert images.is_contiguous(memory_format=torch.channels_last)
        shapes.add((height, width))
    assert len(shapes) > 3


def test_tiny_images_keep_at_least_a_pixel():
    assert MultiScale(seed=0)(batch(1, 1), 4, 0).images.shape == (2, 3, 1, 1)
    assert min(possible_sizes((1, 1))[0]) == 1


def test_detectors_get_multiples_of_their_largest_stride_and_nothing_else():
    scale = MultiScale(seed=3, multiple=32)
    sizes = {tuple(scale(batch(192, 320), step, 0).images.shape[2:]) for step in range(60)}
    assert sizes == {(160, 288), (192, 320), (224, 352)}
    assert sizes <= set(possible_sizes((192, 320), 32))
    assert scale(batch(190, 300), 0, 0).images.shape[2] % 32 == 0, "also where the size of the run is none"
