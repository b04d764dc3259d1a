"""What a model looked at. EXPLANATIONS: how each task shows it."""

from utils.registry import Row, Table

EXPLANATIONS = Table(
    "explanation",
    {
        "classify": Row("applications.explain.labels:explain_labels", "what speaks for the most probable class, and for the true one"),
        "multilabel": Row("applications.explain.labels:explain_labels", "what speaks for the most probable label, and for a missed one"),
        "detect": Row("applications.explain.boxes:explain_boxes", "what the surest box hangs on, and a missed or a false one"),
    },
)
