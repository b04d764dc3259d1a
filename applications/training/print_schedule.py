"""Draws the learning rate over a run, without training."""

from applications import assemble
from applications.settings.options import Request, run_folder_parent
from applications.tasks import TASKS
from optim.plateau import Plateau
from utils.drawing.plots import draw_curve
from utils.files import new_folder, write_csv
from utils.logs import log
from utils.spec import parse_specs

# The data is not opened, so the steps of an epoch are not known; in epochs the curve is the same for any number.
STEPS_PER_EPOCH = 200
# Rates below this share of the peak are not drawn; schedule.csv has them.
SHOWN = 1e-4


def all_figures() -> list[str]:
    """Return the names of all figures that validation may answer: without data, the task is not known."""
    return list(dict.fromkeys(name for task in TASKS for name in TASKS.resolve(task).metric_names))


def run(request: Request) -> int:
    """Write schedule.png and schedule.csv into a folder of their own under --logdir."""
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
    folder = new_folder(run_folder_parent(config.output, "schedule"), config.output.name or spec.name.rpartition(":")[2])
    path = folder / "schedule.png"
    note = ", validation never improving" if isinstance(schedule, Plateau) else ""
    epochs = [step / STEPS_PER_EPOCH for step in range(len(rates))]
    title = f"--schedule {options.schedule}{note}"
    draw_curve(epochs, {"": rates}, path, title=title, xlabel="epoch", ylabel="learning rate", log_y=True, limits=shown_limits(rates))
    write_csv(
        folder / "schedule.csv", [["epoch", "lr"], *([f"{epoch:g}", f"{rate:.8g}"] for epoch, rate in zip(epochs, rates, strict=True))]
    )
    log().info(f"learning rate: starts at {rates[0]:.3g}, peaks at {max(rates):.3g}, ends at {rates[-1]:.3g}")
    log().info(f"written   {path} and schedule.csv next to it")
    return 0


def shown_limits(rates: list[float]) -> tuple[float, float]:
    """Return the rates between which the curve is drawn on a logarithmic axis, where an end at zero lies infinitely deep."""
    peak = max(rates)
    return max(min(rates), SHOWN * peak) / 1.5, 1.5 * peak
