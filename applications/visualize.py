"""Shows images of a split: what a trained model looked at in them."""

from applications import cam
from applications.options import Request


def run(request: Request) -> int:
    """Write the pictures; return the exit code."""
    return cam.run(request)
