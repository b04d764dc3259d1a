"""The page that --evaluation writes. REPORTS: what it says of each kind of task."""

from utils.registry import Row, Table

REPORTS = Table(
    "report",
    {
        "classify": Row("applications.report.single_label:report_parts", "one label per image"),
        "multilabel": Row("applications.report.multi_label:report_parts", "several labels per image"),
        "anomaly": Row("applications.report.defects:report_parts", "good parts and defects"),
        "detect": Row("applications.report.boxes:report_parts", "a box and a class for every object"),
        "segment": Row("applications.report.masks:report_parts", "one class per pixel"),
    },
)
