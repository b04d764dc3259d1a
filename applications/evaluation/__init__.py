"""Measuring a trained model. EVALUATIONS: how, for tasks that are neither of labels nor measured by their contract alone."""

from utils.registry import Row, Table

EVALUATIONS = Table(
    "evaluation",
    {
        "anomaly": Row(
            "applications.evaluation.defects:evaluate_defects", "scores of images and maps of defects, thresholds chosen on val"
        ),
        "detect": Row("applications.evaluation.boxes:evaluate_boxes", "boxes on the original images, as COCO measures them"),
        "segment": Row("applications.evaluation.masks:evaluate_masks", "masks at the size of the original images"),
    },
)
