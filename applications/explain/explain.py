"""--visual_data and --visual_method with --resume: shows what a trained model looked at."""

from dataclasses import replace

from applications import assemble
from applications.explain import EXPLANATIONS
from applications.explain.methods import check_methods
from applications.settings.options import Request
from applications.trained.any_model import load_model


def run(request: Request) -> int:
    """Explain answers of the model of --resume; return the exit code."""
    machine = assemble.open_machine(request.config, training=False)
    options = request.config.look
    if options.visual_method:
        # A name that is wrong is told before anything is read.
        check_methods(options.visual_method)
    trained = load_model(request.resume, request, machine.device)
    if request.subject:
        trained = replace(trained, config=replace(trained.config, output=replace(trained.config.output, split=request.subject)))
    return EXPLANATIONS.resolve(trained.task)(trained, options, machine)
