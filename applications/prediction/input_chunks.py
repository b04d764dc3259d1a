"""Reads what --predict looks at, a few images at a time: files, then frames of videos and cameras."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from applications.assemble import Machine
from applications.settings.options import SingleImageOptions
from applications.trained.checkpoint import Trained
from dataloader.images.read import ImageError, read_image
from dataloader.loading.loader import Loader
from dataloader.sample import Unreadable
from dataloader.sources.frames import Frame, read_frames
from dataloader.sources.inputs import Inputs
from dataloader.splits.split import Split
from utils.cores import default_workers
from utils.errors import UserError
from utils.progress_bar import progress_bar


def count_images(inputs: Inputs, options: SingleImageOptions) -> int | None:
    """Return how many images there are; None with videos, which show their length only at their end."""
    return None if inputs.videos else min(len(inputs.images), options.limit or len(inputs.images))


@dataclass(frozen=True, eq=False)
class InputChunk:
    """Images that go through the network together.

    Attributes:
        names: of the readable ones.
        images: uint8 (N, bands, H, W), at the model's size.
        frames: of videos and cameras, as they were; None for files.
        unreadable: what should have been among them.
        white: the value of 16-bit files that is shown as white.
    """

    names: Sequence[str]
    images: Tensor
    frames: Sequence[Frame] | None
    unreadable: tuple[Unreadable, ...]
    white: int | None = None

    def picture(self, row: int) -> np.ndarray:
        """Return image `row` at its own size, uint8 (h, w, 3)."""
        frame = self.frame(row)
        return read_image(self.names[row], white=self.white) if frame is None else frame.image

    def frame(self, row: int) -> Frame | None:
        """Return what is known of image `row` as a frame; None for files."""
        return None if self.frames is None else self.frames[row]


class TellsMissing(Protocol):
    """Writes what became of the images; told here which of them cannot be read."""

    def miss(self, path: str, reason: str) -> None:
        """Note an image that cannot be read."""
        ...


def read_inputs(
    trained: Trained, inputs: Inputs, options: SingleImageOptions, machine: Machine, writer: TellsMissing
) -> Iterator[InputChunk]:
    """Yield all files, then all frames, with a progress bar on a terminal; the writer is told what cannot be read."""
    for path, reason in inputs.missing:
        writer.miss(path, reason)
    with progress_bar("images", count_images(inputs, options)) as advance:
        for chunk in read_chunks(trained, inputs, options, machine):
            for unreadable in chunk.unreadable:
                writer.miss(unreadable.path, unreadable.reason)
            if len(chunk.names):
                yield chunk
            advance(len(chunk.names) + len(chunk.unreadable))


def read_chunks(trained: Trained, inputs: Inputs, options: SingleImageOptions, machine: Machine) -> Iterator[InputChunk]:
    """Yield all files, then all frames."""
    files = inputs.images[: options.limit]
    if files:
        yield from _chunks_of_files(trained, files, machine)
    if inputs.videos and trained.preprocess.bands != 3:
        raise UserError("this model reads four channels (--channels 4), which the frames of videos and cameras do not have; give it files")
    for source in inputs.videos:
        frames = read_frames(source, rate=options.frames, limit=options.limit)
        yield from _chunks_of_frames(trained, frames, trained.config.data.batch_size)


def _chunks_of_files(trained: Trained, files: Sequence[str], machine: Machine) -> Iterator[InputChunk]:
    # Paths are opened as they are written, from the folder that the user is in.
    unknown = np.empty((len(files), 0), dtype=np.int64)
    split = Split("test", Path(), tuple(files), unknown).seen_by(trained.preprocess)
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
            yield InputChunk([files[number] for number in numbers], batch.images[kept], None, missed, trained.preprocess.white)
    finally:
        loader.close()


def _chunks_of_frames(trained: Trained, frames: Iterator[Frame], size: int) -> Iterator[InputChunk]:
    waiting: list[Frame] = []

    def chunk() -> InputChunk:
        pixels = torch.stack([trained.preprocess.apply(frame.image) for frame in waiting])
        return InputChunk([frame.name for frame in waiting], pixels, tuple(waiting), ())

    try:
        for frame in frames:
            waiting.append(frame)
            if len(waiting) == size:
                yield chunk()
                waiting.clear()
    except ImageError as error:
        yield InputChunk([], torch.empty(0), None, (Unreadable(error.path, error.reason),))
    if waiting:
        yield chunk()
