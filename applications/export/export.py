"""--export and --jit: the named formats, or the best of several; EXPORTERS, for tasks that are not of labels."""

from applications.export.best import BEST, export_best
from applications.export.convert import export_named, named_formats
from applications.settings.options import AUTO, Request
from applications.trained.exported import is_exported
from utils.checkpoint import BEST as BEST_CHECKPOINT
from utils.checkpoint import find_checkpoint, load_checkpoint
from utils.errors import UserError
from utils.registry import Row, Table

EXPORTERS = Table(
    "exporter",
    {
        "anomaly": Row("applications.export.scores:export_scores", "scores and maps of defects"),
        "detect": Row("applications.export.boxes:export_boxes", "boxes, with the choice among them where the format has room"),
    },
)


def run(request: Request) -> int:
    """Return the exit code."""
    wants_best = request.action == "export" and request.subject == BEST
    # Before a checkpoint is read.
    formats = [] if wants_best else named_formats(request)
    task = _task_of(request)
    if task not in EXPORTERS:
        return export_best(request) if wants_best else export_named(request, formats)
    if wants_best:
        raise UserError(f"--export best compares files of classifiers; name the formats for --task {task}, such as openvino,onnx")
    return EXPORTERS.resolve(task)(request, formats)


def _task_of(request: Request) -> str:
    """Return the task of the model of --resume; '' for an exported file."""
    resume = request.config.train.resume
    if not resume or resume == AUTO or is_exported(resume):
        return ""
    return load_checkpoint(find_checkpoint(resume, BEST_CHECKPOINT))["task"]
