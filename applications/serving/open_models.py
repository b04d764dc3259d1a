"""Opens the models that --serve names."""

from pathlib import Path

from applications import assemble
from applications.assemble import Machine
from applications.serving import SERVED
from applications.serving.labels import open_label_file
from applications.serving.served_model import ServedModel
from applications.settings.options import Request
from applications.tasks import TASKS
from applications.tasks.label_task import LabelTask
from applications.trained.any_model import load_file
from applications.trained.checkpoint import load_trained
from applications.trained.exported import is_exported, load_exported
from utils.errors import UserError


def open_models(request: Request, machine: Machine) -> list[ServedModel]:
    """Open the models that --serve names.

    Raises:
        UserError: one is missing, damaged or foreign, lacks its runtime, or gives answers that are not served.
    """
    models: list[ServedModel] = []
    if missing := next((place for place in request.subjects if not Path(place).exists()), None):
        raise UserError(f"--serve: there is no run folder, checkpoint or exported file {missing}")
    for place in request.subjects:
        name = _name(place, {model.facts.name for model in models})
        models.append(_open(request, place, name, machine))
    return models


def _open(request: Request, place: str, name: str, machine: Machine) -> ServedModel:
    options = request.config.look
    if is_exported(place):
        exported = load_exported(Path(place), machine.device)
        task = TASKS.resolve(exported.facts.task)
        assemble.refuse_unable(task, {"serve": True})
        if issubclass(task, LabelTask):
            return open_label_file(exported, name, machine, options)
        trained = load_file(Path(place), request, machine.device)
    else:
        trained = load_trained(place, request.given, request.action, machine.device)
    return SERVED.resolve(trained.task)(trained, name, machine, options)


def _name(place: str, taken: set[str]) -> str:
    """Return a short name that no other model has."""
    path = Path(place).resolve()
    short = path.name if path.is_dir() else f"{path.parent.name}/{path.name}"
    return short if short not in taken else next(f"{short} ({n})" for n in range(2, len(taken) + 3) if f"{short} ({n})" not in taken)
