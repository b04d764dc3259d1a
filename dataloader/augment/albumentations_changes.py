"""The changes of geometry that operations of albumentations made, from the parameters that each reports.

Elastic transforms bend lines: they are a `Field`, all others a `PlaneChange`. Pixels made up by the border mode, such as mirrored
ones, belong to no object: masks ignore them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dataloader.targets.displacement_field import Field
from dataloader.targets.plane_change import Change, PlaneChange, Size, cropped, flipped, from_centers, mirrored, resampled, scaled, turned


class Applied(NamedTuple):
    """One application of an operation.

    Attributes:
        drawn: its random parameters.
        before, after: (H, W) of the image.
        transform: the operation of the library.
    """

    drawn: Mapping[str, Any]
    before: Size
    after: Size
    transform: Any


def _by_matrix(done: Applied) -> PlaneChange:
    return from_centers(np.asarray(done.drawn["matrix"], dtype=np.float64), done.after)


def _rotated(done: Applied) -> PlaneChange:
    change = from_centers(np.asarray(done.drawn["matrix"], dtype=np.float64), done.before)
    if not done.transform.crop_border:
        return change
    return change.then(cropped(done.drawn["y_min"], done.drawn["x_min"], done.after))


def _in_perspective(done: Applied) -> PlaneChange:
    matrix = np.asarray(done.drawn["matrix"], dtype=np.float64)
    if done.transform.keep_size:
        # As in the library: the scale applies to the centers of pixels.
        across, down = done.before[1] / done.drawn["max_width"], done.before[0] / done.drawn["max_height"]
        matrix = np.diag([across, down, 1.0]) @ matrix
    return from_centers(matrix, done.after)


def _cut_out(done: Applied) -> PlaneChange:
    left, top, *_ = done.drawn["crop_coords"]
    pads = done.drawn["pad_params"] or {"pad_top": 0, "pad_left": 0}
    return cropped(top - pads["pad_top"], left - pads["pad_left"], done.after)


def _cut_out_and_resized(done: Applied) -> PlaneChange:
    left, top, right, bottom = done.drawn["crop_coords"]
    return resampled(top, left, (bottom - top, right - left), done.after)


def _resized(done: Applied) -> PlaneChange:
    return scaled(done.before, done.after)


DESCRIBED: Mapping[str, Callable[[Applied], Change]] = MappingProxyType(
    {
        "HorizontalFlip": lambda done: mirrored(done.before),
        "VerticalFlip": lambda done: flipped(done.before),
        "RandomRotate90": lambda done: turned(done.before, done.drawn["factor"]),
        "Rotate": _rotated,
        "ShiftScaleRotate": _by_matrix,
        "Affine": _by_matrix,
        "Perspective": _in_perspective,
        "ElasticTransform": lambda done: Field(done.drawn["map_x"], done.drawn["map_y"]),
        "RandomCrop": _cut_out,
        "CenterCrop": _cut_out,
        "RandomResizedCrop": _cut_out_and_resized,
        "Resize": _resized,
        "SmallestMaxSize": _resized,
        "LongestMaxSize": _resized,
    }
)
# Moves no pixel, although the library counts it among the spatial operations.
IN_PLACE = ("CoarseDropout",)
