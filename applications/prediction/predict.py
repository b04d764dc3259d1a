"""Answers for images, videos and cameras: the same numbers as evaluation gives, without knowing the truth."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from applications import assemble
from applications.assemble import Machine
from applications.prediction.files import ImageAnswer, Writer
from applications.settings.options import Request, SingleImageOptions
from applications.tasks.labels import LabelTask
from applications.trained.any_model import load_model
from applications.trained.checkpoint import Trained
from applications.trained.inference import read_by_classifier
from applications.trained.trained_task import build_label_task
from dataloader.images.read import ImageError, read_image
from dataloader.loading.loader import Loader
from dataloader.sample import Batch, Unreadable
from dataloader.sources.inputs import Inputs, find_inputs, read_frames
from dataloader.splits.split import Split
from dataloader.targets.label import Unknown
from models.classifier_input import as_vectors
from utils.cores import default_workers
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
    trained = load_model(request, machine.device)
    log().info(f"model     {trained.describe()}")
    log().info(f"images    {counted(len(inputs.images), 'file')}, {counted(len(inputs.videos), 'video or camera', 'videos and cameras')}")
    task = build_label_task(trained, machine.device, "--predict")
    with removed_on_error(new_folder(trained.results_folder(), "predict")) as folder:
        reject = trained.reject if options.reject is None else [options.reject] * len(trained.classes)
        writer = Writer(folder, trained.classes, options, reject=reject, source=str(trained.path))
        for path, reason in inputs.missing:
            writer.miss(path, reason)
        with progress_bar("images", _count(inputs, options)) as advance:
            for page in _pages(trained, inputs, options, machine):
                for unreadable in page.unreadable:
                    writer.miss(unreadable.path, unreadable.reason)
                if len(page.names):
                    with read_by_classifier(trained.model) if options.embed else nullcontext([]) as read:
                        answers = _answer(trained, task, page, machine)
                    features = as_vectors(read[-1]).cpu().numpy() if read else None
                    writer.add(answers, features, [page.picture(row) for row in range(len(page.names))] if options.annotate else None)
                advance(len(page.names) + len(page.unreadable))
        return writer.close()


def _count(inputs: Inputs, options: SingleImageOptions) -> int | None:
    """Return how many images there are; None with videos, which show their length only at their end."""
    return None if inputs.videos else min(len(inputs.images), options.limit or len(inputs.images))


@dataclass(frozen=True, eq=False)
class _Page:
    """Images that go through the network together.

    Attributes:
        names: of the readable ones.
        images: uint8 (N, 3, H, W), at the model's size.
        frames: the images as they were, where they are no files.
        unreadable: what should have been among them.
        white: the value of 16-bit files that is shown as white.
    """

    names: Sequence[str]
    images: Tensor
    frames: list[np.ndarray] | None
    unreadable: tuple[Unreadable, ...]
    white: int | None = None

    def picture(self, row: int) -> np.ndarray:
        """Return image `row` at its own size, uint8 (h, w, 3)."""
        return read_image(self.names[row], white=self.white) if self.frames is None else self.frames[row]


def _pages(trained: Trained, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> Iterator[_Page]:
    """Yield all files, then all frames."""
    files = inputs.images[: options.limit]
    if files:
        yield from _pages_of_files(trained, files, machine)
    for source in inputs.videos:
        frames = read_frames(source, rate=options.frames, limit=options.limit)
        yield from _pages_of_frames(trained, frames, trained.config.data.batch_size)


def _pages_of_files(trained: Trained, files: Sequence[str], machine: Machine) -> Iterator[_Page]:
    # Paths are opened as they are written, from the folder that the user is in.
    unknown = np.empty((len(files), 0), dtype=np.int64)
    split = Split("test", Path(), tuple(files), unknown, white=trained.preprocess.white)
    data = trained.config.data
    loader = Loader(
        split,
        trained.preprocess,
        batch_size=data.batch_size,
        workers=min(len(files) // data.batch_size, default_workers() if data.workers is None else data.workers),
        seed=0,
        shuffle=False,
        tolerant=True,
        pin_memory=machine.device.type == "cuda",
    )
    try:
        for batch in loader.batches(0):
            # Black images fill batches of which too little is readable; they weigh nothing.
            kept = batch.weights > 0
            numbers: list[int] = batch.indices[kept].tolist()
            missed = tuple(Unreadable(each.path.removeprefix("./"), each.reason) for each in batch.unreadable)
            yield _Page([files[number] for number in numbers], batch.images[kept], None, missed, trained.preprocess.white)
    finally:
        loader.close()


def _pages_of_frames(trained: Trained, frames: Iterator[tuple[str, np.ndarray]], size: int) -> Iterator[_Page]:
    waiting: list[tuple[str, np.ndarray]] = []

    def page() -> _Page:
        names, pictures = [name for name, _ in waiting], [image for _, image in waiting]
        return _Page(names, torch.stack([trained.preprocess.apply(image) for image in pictures]), pictures, ())

    try:
        for item in frames:
            waiting.append(item)
            if len(waiting) == size:
                yield page()
                waiting.clear()
    except ImageError as error:
        yield _Page([], torch.empty(0), None, (Unreadable(error.path, error.reason),))
    if waiting:
        yield page()


def _answer(trained: Trained, task: LabelTask, page: _Page, machine: Machine) -> list[ImageAnswer]:
    """Return what the model says of each image of a page."""
    count = len(page.names)
    # The truth is unknown, and nothing here asks for it.
    batch = Batch(page.images, Unknown.stack([Unknown()] * count), torch.ones(count), torch.arange(count))
    with torch.inference_mode(), machine.autocast():
        answers = task.postprocess(task.forward(trained.model, batch.to(machine.device)))
    return [ImageAnswer(name, *answer) for name, answer in zip(page.names, answers, strict=True)]
