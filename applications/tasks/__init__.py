"""TASKS: what a batch can mean."""

from utils.registry import Row, Table

TASKS = Table(
    "task",
    {
        "classify": Row("applications.tasks.classify:Classify", "one label per image"),
        "multilabel": Row("applications.tasks.multilabel:Multilabel", "several labels per image"),
        "segment": Row("applications.tasks.segment:Segment", "one class per pixel: semantic segmentation"),
        "detect": Row("applications.tasks.detect:Detect", "a box and a class for every object"),
        "anomaly": Row("applications.tasks.anomaly:Anomaly", "good parts or not, and where, learned from good images alone"),
    },
)
