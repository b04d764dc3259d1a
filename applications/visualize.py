"""Shows what a network sees: augmented images, without a trained model."""

from applications import visual_data
from applications.options import Request
from utils.errors import UserError


def run(request: Request) -> int:
    """Draw the images of --visual_data; return the exit code."""
    if request.config.train.resume:
        raise UserError("--visual_data draws images of --data as training reads them; leave --resume out")
    return visual_data.run(request)
