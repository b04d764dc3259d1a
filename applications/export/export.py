"""--export and --jit: the named formats, or the best of several."""

from applications.export.best import export_best
from applications.export.convert import export
from applications.export.source import read_source
from applications.export.staging import check_writable
from applications.export.wanted_formats import BEST, named_formats
from applications.settings.options import Request
from utils import checkpoint
from utils.busy_machine import sleep_when_busy
from utils.interruptible import interruptible


def run(request: Request) -> int:
    """Return the exit code: 1 when a file answers otherwise than the model."""
    tries_all = request.action == "export" and request.subject == BEST
    # Before a checkpoint is read.
    formats = [] if tries_all else named_formats(request)
    check_writable(checkpoint.find_checkpoint(request.resume, checkpoint.BEST).parent)
    sleep_when_busy()
    with interruptible():
        if tries_all:
            return export_best(request)
        source = read_source(request, formats)
        return max([export(source, found, formats) for found in formats])
