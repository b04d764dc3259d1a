"""--predict of a detector: boxes on the original images, as JSON, COCO, YOLO and CSV, copies with frames, cut-outs."""

from applications.assemble import Machine
from applications.contract import Task
from applications.prediction.box_files import BoxWriter
from applications.prediction.input_chunks import Page, count_images, read_chunks
from applications.settings.options import SingleImageOptions
from applications.tasks.box_answers import BoxAnswer
from applications.tasks.detect import Detect
from applications.trained.boxes import ImageDetector, set_choice
from applications.trained.checkpoint import Trained
from applications.trained.views import with_views
from dataloader.sources.inputs import Inputs
from utils.files import new_folder, removed_on_error
from utils.logs import log
from utils.progress import progress_bar


def predict_boxes(trained: Trained, task: Task, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> int:
    """Predict for the paths of --predict; return 0, or 1 when some could not be read."""
    assert isinstance(task, Detect)
    set_choice(task, trained)
    detector = ImageDetector(with_views(trained), task, machine, trained.config.evaluation.tiles)
    log().info(f"answers   boxes with a score of {task.confidence:.3f} or more, at most {task.choice.most} an image")
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        writer = BoxWriter(folder, trained.classes, annotate=options.annotate, crops=trained.config.boxes.crops)
        for path, reason in inputs.missing:
            writer.miss(path, reason)
        with progress_bar("images", count_images(inputs, options)) as advance:
            for page in read_chunks(trained, inputs, options, machine):
                for unreadable in page.unreadable:
                    writer.miss(unreadable.path, unreadable.reason)
                _answer(detector, page, writer)
                advance(len(page.names) + len(page.unreadable))
        return writer.close()


def _answer(detector: ImageDetector, page: Page, writer: BoxWriter) -> None:
    """Answer the images of a page."""
    if not page.names:
        return
    choice = detector.task.answered
    if detector.tiled:
        for row, name in enumerate(page.names):
            image = page.picture(row)
            writer.add(name, image, detector.boxes(image, choice))
        return
    said = detector.look(page.images)
    for row, name in enumerate(page.names):
        image = page.picture(row)
        answer: BoxAnswer = detector.answer(said[row], (image.shape[0], image.shape[1]), choice)
        writer.add(name, image, answer)
