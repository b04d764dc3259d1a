"""Answers for single images. PREDICTIONS: how each task gives them."""

from utils.registry import Row, Table

PREDICTIONS = Table(
    "prediction",
    {
        "classify": Row("applications.prediction.labels:predict_labels", "the label and probabilities"),
        "multilabel": Row("applications.prediction.labels:predict_labels", "labels and probabilities"),
        "anomaly": Row("applications.prediction.defects:predict_defects", "heat maps, masks and boxes of defects"),
        "detect": Row("applications.prediction.boxes:predict_boxes", "boxes as JSON, COCO, YOLO and CSV, copies with frames, cut-outs"),
        "segment": Row("applications.prediction.masks:predict_masks", "masks, overlays, outlines and areas"),
    },
)
