"""Writes a template of a cost matrix, a threshold matrix or class weights for the classes of --data."""

from applications.settings.options import Request
from criterions.matrix import write_template
from dataloader.splits.catalog import open_catalog
from utils.logs import log

USES = {
    "cost": "--weighted_loss --cost_matrix {}",
    "threshold": "--threshold_loss --threshold_matrix {}",
    "weights": "--class_weights {}",
}


def run(request: Request) -> int:
    """Write the file that --write_matrix names."""
    config = request.config
    catalog = open_catalog(config.data.data, whole="train")
    write_template(request.subject, catalog.classes, kind=config.loss.matrix_kind)
    log().info(f"written: {request.subject} for {len(catalog.classes)} classes")
    log().info(f"next: fill it in, then python main.py --data {config.data.data} {USES[config.loss.matrix_kind].format(request.subject)}")
    return 0
