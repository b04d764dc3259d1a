"""Decodes uploaded files in processes of its own, so that a file that crashes or delays its decoder costs nothing but its answer."""

import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from dataloader.images.preprocess import Preprocess, fit_pixels
from dataloader.images.read import ImageError, decode_image
from utils.interruptible import ENDINGS

# What a worker may take beside its own size: every pixel in several forms, and some for the libraries.
BYTES_A_PIXEL = 48
BYTES_BESIDE = 256 * 2**20


@dataclass(frozen=True)
class Form:
    """How a model takes images.

    Attributes:
        preprocess: what is done to them.
        whole: whether the model does that itself, and takes them as large as they are.
    """

    preprocess: Preprocess
    whole: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """Return an image, uint8 (H, W, bands), in this form, uint8 (h, w, bands)."""
        return image if self.whole else fit_pixels(image, *self.preprocess.image_size, self.preprocess.resize)


@dataclass(frozen=True)
class DecodingJob:
    """What is made of every file.

    Attributes:
        forms: one for each model.
        max_pixels: of an image; larger ones are refused before they are decoded.
        seconds: that one file may take.
        decode: 'module:function' that takes the bytes of a file and this job.
    """

    forms: tuple[Form, ...]
    max_pixels: int
    seconds: float
    decode: str = f"{__name__}:decode"


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as the models see it.

    Attributes:
        size: (H, W) of the file's upright image.
        pictures: uint8 (h, w, bands) for each form.
    """

    size: tuple[int, int]
    pictures: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Refused:
    """A file without an answer.

    Attributes:
        outcome: 'no_image', 'too_large', 'damaged', 'crashed' or 'slow'; 'no_decoder' where nobody has looked at it.
        reason: in a few words.
    """

    outcome: str
    reason: str


def decode(data: bytes, job: DecodingJob) -> Decoded | Refused:
    """Return the image of a file as each model sees it: the pixels that `--predict` would show it."""
    if not data:
        return Refused("no_image", "the file is empty")
    found: dict[tuple[int | None, int], np.ndarray] = {}
    try:
        for white, bands in dict.fromkeys((form.preprocess.white, form.preprocess.bands) for form in job.forms):
            found[white, bands] = decode_image(data, "the file", white=white, bands=bands)
    except ImageError as error:
        return _refusal(error, job)
    height, width = next(iter(found.values())).shape[:2]
    if height * width > job.max_pixels:
        return _too_large(job)
    pictures = (form.of(found[form.preprocess.white, form.preprocess.bands]) for form in job.forms)
    return Decoded((height, width), tuple(np.ascontiguousarray(picture) for picture in pictures))


def _refusal(error: ImageError, job: DecodingJob) -> Refused:
    if "decompression bomb" in error.reason:
        return _too_large(job)
    if error.reason.startswith("not an image"):
        return Refused("no_image", error.reason)
    if isinstance(error.__cause__, MemoryError):
        return Refused("too_large", "decoding it takes too much memory")
    return Refused("damaged", error.reason)


def _too_large(job: DecodingJob) -> Refused:
    return Refused("too_large", f"more than {job.max_pixels / 1e6:g} megapixels")


def work(connection: Connection, job: DecodingJob) -> None:
    """Decode what comes through the connection until it is closed: the whole life of a worker."""
    # They reach all processes of a terminal or a service; the server ends this one itself, or closes the connection.
    for number in (signal.SIGINT, *ENDINGS):
        signal.signal(number, signal.SIG_IGN)
    _prepare(job)
    module, _, name = job.decode.partition(":")
    decode_file: Callable[[bytes, DecodingJob], Decoded | Refused] = getattr(importlib.import_module(module), name)
    connection.send("ready")
    while True:
        try:
            data = connection.recv_bytes()
            # Ends a worker that hangs although its server is gone; otherwise the server is earlier.
            signal.setitimer(signal.ITIMER_REAL, 2 * job.seconds + 5)
            answer = decode_file(data, job)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send(answer)
        except (EOFError, OSError):
            return


def _prepare(job: DecodingJob) -> None:
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    Image.MAX_IMAGE_PIXELS = job.max_pixels
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + BYTES_A_PIXEL * job.max_pixels + BYTES_BESIDE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
