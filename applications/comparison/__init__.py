"""Whether trained models differ on the same images; COMPARISONS: what of each image is compared, for the tasks that are not of labels."""

from utils.registry import Row, Table

# Task -> a function of (model, split, task, machine) that returns `Counted`.
COMPARISONS = Table(
    "comparison",
    {
        "segment": Row("applications.comparison.masks:count_masks", "mIoU, by the pixels of each image"),
        "anomaly": Row("applications.comparison.defects:count_defects", "AUROC, by the scores of the images"),
    },
)
