"""Shows images of a split: as training sees them, or what a trained model looked at in them."""

from applications.settings.options import Request


def run(request: Request) -> int:
    """Write the pictures; return the exit code."""
    # Each imported where it is wanted: the heat maps need nothing of training, and the sheets no model.
    if request.config.train.resume:
        from applications.explain import cam

        return cam.run(request)
    from applications.dataset import sheets

    return sheets.run(request)
