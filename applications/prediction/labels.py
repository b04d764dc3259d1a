"""--predict of a classifier: labels with their probabilities, and what else was asked for."""

from contextlib import nullcontext

from applications.assemble import Machine
from applications.contract import Task
from applications.prediction.answer_inputs import answer_inputs
from applications.prediction.input_chunks import InputChunk
from applications.prediction.label_files import ImageAnswer, LabelWriter
from applications.settings.options import SingleImageOptions
from applications.tasks.label_task import LabelTask
from applications.trained.checkpoint import Trained
from applications.trained.inference import answer_images, read_by_classifier
from dataloader.sources.inputs import Inputs
from models.classifier_input import as_vectors
from utils.files import new_folder, removed_on_error


def predict_labels(trained: Trained, task: Task, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read."""
    assert isinstance(task, LabelTask)
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        reject = trained.calibration.rejecting(options.reject, len(trained.classes))
        writer = LabelWriter(folder, trained.classes, options, reject=reject, source=str(trained.path))

        def answer(chunk: InputChunk) -> None:
            with read_by_classifier(trained.model) if options.embed else nullcontext([]) as read:
                said = answer_images(trained, task, chunk.images, machine)
            features = as_vectors(read[-1]).cpu().numpy() if read else [None] * len(said)
            for row, (name, each, seen) in enumerate(zip(chunk.names, said, features, strict=True)):
                writer.add(ImageAnswer(name, each, seen), chunk.picture(row) if options.annotate else None)

        return answer_inputs(trained, inputs, options, machine, writer, answer)
