"""The page that --evaluation writes. REPORTS: what it says of each kind of task."""

from utils.registry import Row, Table

REPORTS = Table(
    "report",
    {
        "classify": Row("applications.report.classify:report_parts", "one label per image"),
        "multilabel": Row("applications.report.multilabel:report_parts", "several labels per image"),
        "anomaly": Row("applications.report.anomaly:report_parts", "good parts and defects"),
        "detect": Row("applications.report.detect:report_parts", "a box and a class for every object"),
        "segment": Row("applications.report.segment:report_parts", "one class per pixel"),
    },
)
