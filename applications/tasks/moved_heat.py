"""Scores of pixels, brought to the plane of the image in the file."""

import numpy as np

from dataloader.targets.plane_change import PlaneChange


def moved_heat(heat: np.ndarray, change: PlaneChange) -> np.ndarray:
    """Return scores of pixels (h, w) in the plane of the original image, to which the change leads back; bilinear, 0 outside."""
    import cv2

    height, width = change.size
    # OpenCV counts from the centers of pixels.
    to_centers, to_edges = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]), np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = to_centers @ change.matrix @ to_edges
    # Repeated along the border, whose outer half pixels would else fade.
    moved = cv2.warpPerspective(heat, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved * change.move_ids(np.ones(heat.shape, np.uint8), 0)
