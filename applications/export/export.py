"""--export and --jit: the named formats, or the best of several."""

from applications.export.best import BEST, export_best
from applications.export.convert import export
from applications.export.source import read_source
from applications.export.wanted_formats import named_formats
from applications.settings.options import Request


def run(request: Request) -> int:
    """Return the exit code: 1 when a file answers otherwise than the model."""
    if request.action == "export" and request.subject == BEST:
        return export_best(request)
    # Before a checkpoint is read.
    formats = named_formats(request)
    source = read_source(request, formats)
    return max([export(source, found, formats) for found in formats])
