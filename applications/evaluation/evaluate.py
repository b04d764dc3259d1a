"""Measures a trained model on held-out images: figures, tables, pictures."""

from applications import assemble
from applications.evaluation import EVALUATIONS
from applications.evaluation.by_contract import evaluate_by_contract
from applications.settings.options import Request
from applications.trained.any_model import load_model
from applications.trained.trained_task import build_trained_task
from utils.distributed import close_world


def run(request: Request) -> int:
    """Evaluate the model of --resume; return 0, or 1 when images could not be read."""
    machine = assemble.open_machine(request.config, training=False)
    try:
        trained = load_model(request.resume, request, machine.device)
        task = build_trained_task(trained, machine.device)
        evaluate = EVALUATIONS.resolve(task.name) if task.name in EVALUATIONS else evaluate_by_contract
        return evaluate(trained, task, machine)
    finally:
        close_world(machine.world)
