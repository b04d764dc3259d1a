"""Answers for single images. PREDICTIONS: how they are given, for tasks that do not name labels."""

from utils.registry import Row, Table

PREDICTIONS = Table(
    "prediction",
    {
        "anomaly": Row("applications.prediction.defects:predict_defects", "heat maps, masks and boxes of defects"),
        "detect": Row("applications.prediction.boxes:predict_boxes", "boxes as JSON, COCO, YOLO and CSV, copies with frames, cut-outs"),
        "segment": Row("applications.prediction.masks:predict_masks", "masks, overlays, outlines and areas"),
    },
)
