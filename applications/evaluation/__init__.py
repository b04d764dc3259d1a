"""Measuring a trained model. EVALUATIONS: how each task is; one that is not among them is measured by its contract alone."""

from utils.registry import Row, Table

EVALUATIONS = Table(
    "evaluation",
    {
        "classify": Row("applications.evaluation.labels:evaluate_labels", "figures, calibration, promises of thresholds"),
        "multilabel": Row("applications.evaluation.labels:evaluate_labels", "figures of every label, thresholds"),
        "anomaly": Row(
            "applications.evaluation.defects:evaluate_defects", "scores of images and maps of defects, thresholds chosen on val"
        ),
        "detect": Row("applications.evaluation.boxes:evaluate_boxes", "boxes on the original images, as COCO measures them"),
        "segment": Row("applications.evaluation.masks:evaluate_masks", "masks at the size of the original images"),
    },
)
