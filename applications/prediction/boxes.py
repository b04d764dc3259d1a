"""--predict of a detector: boxes on the original images, as JSON, COCO, YOLO and CSV, copies with frames, cut-outs."""

from applications.assemble import Machine
from applications.contract import Task
from applications.prediction.answer_inputs import answer_inputs
from applications.prediction.box_files import BoxWriter
from applications.prediction.input_chunks import InputChunk
from applications.settings.options import SingleImageOptions
from applications.tasks.box_answers import BoxAnswer
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained
from applications.trained.viewed_networks import with_views
from dataloader.sources.inputs import Inputs
from utils.files import new_folder, removed_on_error
from utils.logs import log


def predict_boxes(trained: Trained, task: Task, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read."""
    assert isinstance(task, Detect)
    set_choice(task, trained)
    detector = ImageDetector(with_views(trained), task, machine, trained.config.evaluation.tiles)
    log().info(f"answers   boxes with a score of {task.confidence:.3f} or more, at most {task.choice.most} an image")
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        writer = BoxWriter(folder, trained.classes, annotate=options.annotate, cut_outs=trained.config.boxes.cut_out_boxes)
        return answer_inputs(trained, inputs, options, machine, writer, lambda chunk: _answer(detector, chunk, writer))


def _answer(detector: ImageDetector, chunk: InputChunk, writer: BoxWriter) -> None:
    """Answer the images of a chunk."""
    choice = detector.task.answered
    if detector.tiled:
        for row, name in enumerate(chunk.names):
            image = chunk.picture(row)
            writer.add(name, image, detector.boxes(image, choice), chunk.frame(row))
        return
    said = detector.look(chunk.images)
    for row, name in enumerate(chunk.names):
        image = chunk.picture(row)
        answer: BoxAnswer = detector.answer(said[row], (image.shape[0], image.shape[1]), choice)
        writer.add(name, image, answer, chunk.frame(row))
