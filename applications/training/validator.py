"""Validation: the figures of the weights to be kept, on the validation images."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from applications.engine.score import score
from applications.engine.unreadable import UnreadableHeldOutImages
from applications.progress import Observer
from applications.training.training_parts import TrainingParts
from optim.stepper import Stepper


def build_validator(
    parts: TrainingParts, stepper: Stepper | None, left_out: UnreadableHeldOutImages, observers: Sequence[Observer] = ()
) -> Callable[[], Mapping[str, float]]:
    """Return a function that measures the weights to be kept on the validation images.

    These are the averages of the stepper, where it keeps some, or what the model holds; without a stepper, always the latter.
    It computes in fp32 whatever training does, as evaluation and exported files do: the best epoch and the temperature are chosen
    by the answers that will be given.
    """

    machine, task, model = parts.machine, parts.task, parts.model

    def validate() -> Mapping[str, float]:
        with nullcontext() if stepper is None else stepper.averaged(), machine.fp32_autocast() as autocast:
            # Each process has counted its own batch-norm statistics and ranges of inputs; those of the first are the ones that are saved.
            machine.world.take_from_first(model.buffers())
            where = {"device": machine.device, "autocast": autocast, "world": machine.world, "images": len(parts.val_loader.split)}
            meter = score(model, task, parts.val_loader.batches(0), **where, left_out=left_out)
        found = None
        # The others have counted their own share alone.
        if machine.world.is_first:
            for observer in observers:
                observer.validated(meter)
            task.calibrate(meter)
            found = meter.figures(), task.calibration()
        figures, calibration = machine.world.gather(found)[0]
        task.load_calibration(calibration)
        return figures

    return validate
