"""--export and --jit: the named formats, or the best of several."""

from applications.export.best import BEST, export_best
from applications.export.convert import export_named
from applications.settings.options import Request


def run(request: Request) -> int:
    """Return the exit code."""
    return export_best(request) if request.subject == BEST else export_named(request)
