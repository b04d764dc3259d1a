"""A page and a JSON API for trained models. SERVED: how the runs of each task answer."""

from utils.registry import Row, Table

SERVED = Table(
    "served task",
    {
        "classify": Row("applications.serving.labels:open_labels", "labels, probabilities, heat maps"),
        "multilabel": Row("applications.serving.labels:open_labels", "labels, probabilities, heat maps"),
        "segment": Row("applications.serving.masks:open_masks", "masks, areas, overlays"),
        "detect": Row("applications.serving.boxes:open_boxes", "boxes with scores, drawn over the image"),
        "anomaly": Row("applications.serving.defects:open_defects", "scores, verdicts, defects, heat maps"),
    },
)
