"""Answers for images, videos and cameras: the same numbers as evaluation gives, without knowing the truth."""

from contextlib import nullcontext

from applications import assemble
from applications.prediction import PREDICTIONS
from applications.prediction.input_chunks import count_images, read_chunks
from applications.prediction.label_files import ImageAnswer, Writer
from applications.settings.options import Request
from applications.trained.any_model import load_model
from applications.trained.inference import answer_images, read_by_classifier
from applications.trained.trained_task import build_label_task, build_trained_task
from dataloader.sources.inputs import find_inputs
from models.classifier_input import as_vectors
from utils.errors import UserError
from utils.files import new_folder, removed_on_error
from utils.logs import log
from utils.progress import progress_bar
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
    kind = build_trained_task(trained, machine.device)
    if trained.config.evaluation.tta and kind.name != "detect":
        raise UserError(f"--predict --tta joins the views of --task detect; leave it out for --task {kind.name} of {trained.path}")
    if kind.name in PREDICTIONS:
        return PREDICTIONS.resolve(kind.name)(trained, kind, inputs, options, machine)
    task = build_label_task(trained, machine.device)
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        reject = trained.calibration.rejecting(options.reject, len(trained.classes))
        writer = Writer(folder, trained.classes, options, reject=reject, source=str(trained.path))
        for path, reason in inputs.missing:
            writer.miss(path, reason)
        with progress_bar("images", count_images(inputs, options)) as advance:
            for page in read_chunks(trained, inputs, options, machine):
                for unreadable in page.unreadable:
                    writer.miss(unreadable.path, unreadable.reason)
                if len(page.names):
                    with read_by_classifier(trained.model) if options.embed else nullcontext([]) as read:
                        said = answer_images(trained, task, page.images, machine)
                    features = as_vectors(read[-1]).cpu().numpy() if read else None
                    writer.add(
                        [ImageAnswer(*each) for each in zip(page.names, said, strict=True)],
                        features,
                        [page.picture(row) for row in range(len(page.names))] if options.annotate else None,
                    )
                advance(len(page.names) + len(page.unreadable))
        return writer.close()
