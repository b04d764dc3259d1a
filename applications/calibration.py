"""Temperature and thresholds of a trained model, chosen on its validation images and stored beside its weights."""

from contextlib import nullcontext
from dataclasses import replace

from applications.contract import Prediction, Task
from applications.targets import Target, choose_rejection, choose_thresholds
from applications.trained import Trained
from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.files import locked
from utils.logs import log


def calibrated(trained: Trained, task: Task, prediction: Prediction, target: Target | None, *, refit: bool) -> Trained:
    """Return the model with thresholds for a target, and with `refit` a temperature too.

    Without a target, `refit` gives each of several labels the threshold of its best F1, and takes rejection away.

    Args:
        trained: the model.
        task: its task; it takes the new temperature and thresholds.
        prediction: of the task, for the model's val images.
        target: the promise of the thresholds; None makes none.
        refit: whether to choose the temperature anew.
    """
    if refit:
        prediction = task.calibrate(prediction)
    thresholds, reject = task.thresholds, None if refit else trained.reject
    if target is not None:
        targets, probabilities = prediction.targets.numpy(), prediction.probabilities.numpy()
        if thresholds is None:
            reject = choose_rejection(target, targets, probabilities)
        else:
            thresholds = task.thresholds = choose_thresholds(target, targets >= 0.5, probabilities)
    return replace(trained, temperature=task.temperature, thresholds=thresholds, reject=reject)


def store_calibration(trained: Trained) -> None:
    """Write temperature and thresholds into the checkpoint that the model was read from; the weights stay as they are.

    Raises:
        UserError: the run is still training, or the disk is full; the file is as it was.
    """
    log_file = trained.path.parent / "log.txt"
    with locked(log_file) if log_file.is_file() else nullcontext():
        content = load_checkpoint(trained.path)
        content["temperature"] = trained.temperature
        content["thresholds"] = None if trained.thresholds is None else list(trained.thresholds)
        content["reject"] = None if trained.reject is None else list(trained.reject)
        save_checkpoint(trained.path, content)
    log().info(f"stored    temperature {trained.temperature:.4f}{' and thresholds' if _has_thresholds(trained) else ''} in {trained.path}")
    exported = trained.path.parent / "model.jit.pt"
    if exported.is_file():
        log().warning(f"{exported} still answers with what was stored before; write it again with --jit")


def _has_thresholds(trained: Trained) -> bool:
    return trained.thresholds is not None or trained.reject is not None
