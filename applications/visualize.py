"""Shows images of a split: as training sees them, or what a trained model looked at in them."""

from applications.options import Request


def run(request: Request) -> int:
    """Write the pictures; return the exit code."""
    # Each imported where it is wanted: the heat maps need nothing of training, and the sheets no model.
    if request.config.train.resume:
        from applications import cam

        return cam.run(request)
    from applications import visual_data

    return visual_data.run(request)
