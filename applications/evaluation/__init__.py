"""Measuring a trained model. EVALUATIONS: how, for tasks that are neither of labels nor measured by their contract alone."""

from utils.registry import Row, Table

EVALUATIONS = Table(
    "evaluation",
    {
        "segment": Row("applications.evaluation.masks:evaluate_masks", "masks at the size of the original images"),
    },
)
