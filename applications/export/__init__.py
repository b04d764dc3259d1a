"""Files for other runtimes, and what models and files take; REFERENCES: by which answers of files are compared and measured."""

from typing import TYPE_CHECKING

from utils.errors import UserError
from utils.registry import Row, Table

if TYPE_CHECKING:
    from applications.export.reference import Reference

# A row for each task whose models are exported.
REFERENCES = Table(
    "reference",
    {
        "classify": Row("applications.export.label_reference:LabelReference", "one label an image"),
        "multilabel": Row("applications.export.label_reference:LabelReference", "several labels an image"),
        "segment": Row("applications.export.mask_reference:MaskReference", "masks"),
        "detect": Row("applications.export.box_reference:BoxReference", "boxes, with the choice among them where the format has room"),
        "anomaly": Row("applications.export.defect_reference:DefectReference", "scores and maps of defects"),
    },
)


def reference_kind(task: str) -> "type[Reference]":
    """Return the reference of a task.

    Raises:
        UserError: its answers cannot be compared.
    """
    if task not in REFERENCES:
        raise UserError(f"answers of --task {task} cannot be compared, so no file of it is written; known are {', '.join(REFERENCES)}")
    return REFERENCES.resolve(task)
