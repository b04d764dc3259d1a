"""Draws the learning rate over a run, without training."""

from applications import assemble
from applications.options import Request, run_folder_parent
from applications.tasks import TASKS
from optim.plateau import Plateau
from utils.files import new_folder
from utils.logs import log
from utils.plots import draw_curve
from utils.spec import parse_specs

# The data is not opened, so the steps of an epoch are not known; in epochs the curve is the same for any number.
STEPS_PER_EPOCH = 200


def all_figures() -> list[str]:
    """Return the names of all figures that validation may answer: without data, the task is not known."""
    return list(dict.fromkeys(name for task in TASKS for name in TASKS.resolve(task).figures))


def run(request: Request) -> int:
    """Write schedule.png into a folder of its own under --logdir."""
    config = request.config
    options = config.optim
    schedule = assemble.build_run_schedule(config, STEPS_PER_EPOCH)
    assemble.check_watched(schedule, all_figures() if isinstance(schedule, Plateau) else ())
    rates = []
    for epoch in range(config.train.epochs):
        rates += [options.lr * schedule(epoch * STEPS_PER_EPOCH + step) for step in range(STEPS_PER_EPOCH)]
        if isinstance(schedule, Plateau):
            # Drawn as if validation never improved after the first epoch.
            schedule.observe({schedule.metric: 0.0})
    (spec,) = parse_specs(options.schedule)
    folder = new_folder(run_folder_parent(config, "schedule"), config.output.name or spec.name.rpartition(":")[2])
    path = folder / "schedule.png"
    note = ", validation never improving" if isinstance(schedule, Plateau) else ""
    epochs = [step / STEPS_PER_EPOCH for step in range(len(rates))]
    title = f"--schedule {options.schedule}{note}"
    draw_curve(epochs, {"": rates}, path, title=title, xlabel="epoch", ylabel="learning rate")
    log().info(f"learning rate: starts at {rates[0]:.3g}, peaks at {max(rates):.3g}, ends at {rates[-1]:.3g}")
    log().info(f"written: {path}")
    return 0
