"""Writes a template of a cost matrix, a threshold matrix or class weights for the classes of --data."""

from shlex import quote

from applications.settings.options import Request
from criterions.matrix import write_template
from dataloader.opening.open_catalog import open_catalog
from utils.logs import log
from utils.spec import Spec


def usage(kind: str, file: str) -> str:
    """Return the flags by which training takes the file."""
    if kind == "cost":
        risk = Spec("risk", (file,))
        # Softmax, the usual loss, has no use for what --weighted_loss makes of costs.
        return f"--criterion {quote(f'softmax|{risk}')}"
    flags = {"threshold": "--threshold_loss --threshold_matrix", "weights": "--class_weights"}
    return f"{flags[kind]} {quote(file)}"


def run(request: Request) -> int:
    """Write the file that --write_matrix names."""
    config = request.config
    catalog = open_catalog(config.data.data, whole="train")
    write_template(request.subject, catalog.classes, kind=config.loss.matrix_kind)
    log().info(f"written   {request.subject} for {len(catalog.classes)} classes")
    command = f"python main.py --data {quote(config.data.data)} {usage(config.loss.matrix_kind, request.subject)}"
    log().info(f"next: fill it in, then {command}")
    return 0
