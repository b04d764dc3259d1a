"""Answers for images, videos and cameras: the same numbers as evaluation gives, without knowing the truth."""

from applications import assemble
from applications.abilities import VIEWS_OF_SINGLE_IMAGES
from applications.prediction import PREDICTIONS
from applications.settings.options import Request
from applications.trained.any_model import load_model
from applications.trained.trained_task import build_trained_task
from dataloader.sources.inputs import find_inputs
from utils.errors import UserError
from utils.logs import log
from utils.text import counted


def run(request: Request) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read."""
    options = request.config.look
    if options.reject is not None and not 0 <= options.reject <= 1:
        raise UserError(f"--reject {options.reject}: write a probability from 0 to 1")
    inputs = find_inputs(request.subjects)
    machine = assemble.open_machine(request.config, training=False)
    trained = load_model(request.resume, request, machine.device)
    log().info(f"model     {trained.describe()}")
    log().info(f"images    {counted(len(inputs.images), 'file')}, {counted(len(inputs.videos), 'video or camera', 'videos and cameras')}")
    task = build_trained_task(trained, machine.device)
    if trained.config.evaluation.tta and VIEWS_OF_SINGLE_IMAGES not in task.abilities:
        raise UserError(
            f"--predict --tta is for {VIEWS_OF_SINGLE_IMAGES}, which --task {task.name} of {trained.path} does not do; leave --tta out"
        )
    return PREDICTIONS.resolve(task.name)(trained, task, inputs, options, machine)
