"""Heat of defects as it is shown, and outlines of marked ones."""

import numpy as np

# Heat below it is not shown: good parts are full of it.
FAINT = 0.25
# Color of the outline of a defect, RGB.
OUTLINE = (40, 220, 90)


def shown_heat(heat: np.ndarray) -> np.ndarray:
    """Return heat in [0, 1] as it is shown: what is faint is left out."""
    return ((heat - FAINT) / (1 - FAINT)).clip(0, 1)


def outlined(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with a line around the marked pixels, bool (H, W)."""
    import cv2

    if not inside.any():
        return image
    rings, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(image).copy(), rings, -1, OUTLINE, max(1, max(image.shape[:2]) // 200))
