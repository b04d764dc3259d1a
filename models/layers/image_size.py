"""Refusals of image sizes that a network cannot take."""

from utils.errors import UserError


def check_multiple(image_size: tuple[int, int], patch: int, *, arch: str) -> None:
    """Raise UserError unless height and width are multiples of the patch."""
    if any(side % patch or side < patch for side in image_size):
        nearest = " ".join(str(max(round(side / patch), 1) * patch) for side in image_size)
        raise UserError(
            f"{arch} cuts images into patches of {patch} x {patch} pixels and does not take {image_size[0]} x {image_size[1]}; "
            f"--image_size {nearest} is near"
        )


def check_least(image_size: tuple[int, int], least: int, *, arch: str) -> None:
    """Raise UserError where height or width is below what one place of the smallest map needs."""
    if min(image_size) < least:
        raise UserError(f"{arch} does not take images of {image_size[0]} x {image_size[1]} pixels; they need {least} at least")
