"""From a file that was sent to what the models say of it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import UploadFile

from applications import assemble
from applications.serving.batching import Batcher
from applications.serving.decoder_pool import DecoderPool
from applications.serving.decoding import Decoded, DecodingJob, Form, Refused
from applications.serving.limits import Limits, read_limits
from applications.serving.metrics import Metrics
from applications.serving.open_models import open_models
from applications.serving.schema import Answer, ImageAnswers
from applications.serving.served_model import Wanted
from applications.settings.options import Request
from utils.cores import default_workers
from utils.errors import UserError
from utils.logs import log
from utils.text import counted


@dataclass(frozen=True)
class Service:
    """All that answers need.

    Attributes:
        batchers: one for each model, by its name, in the order of the command line.
        decoders: make pixels of files.
        columns: name of a model -> which of the decoded pictures is for it.
        limits: of a request.
        metrics: count what happens.
        reading: how many files are in memory and being decoded, at most.
    """

    batchers: dict[str, Batcher]
    decoders: DecoderPool
    columns: dict[str, int]
    limits: Limits
    metrics: Metrics
    reading: asyncio.Semaphore

    async def answer(self, upload: UploadFile, names: Sequence[str], wanted: Wanted) -> ImageAnswers | Refused:
        """Return what the named models say of a file."""
        async with self.reading:
            data = await upload.read()
            decoded = await asyncio.wrap_future(self.decoders.submit(data))
            if isinstance(decoded, Refused):
                self.metrics.image(decoded.outcome)
                return decoded
            # Whole images are large: as many as are read at once wait for their answers.
            whole = [name for name in names if self.batchers[name].model.facts.whole]
            found = dict(zip(whole, await asyncio.gather(*(self._ask(name, decoded, wanted) for name in whole)), strict=True))
        others = [name for name in names if name not in found]
        found |= dict(zip(others, await asyncio.gather(*(self._ask(name, decoded, wanted) for name in others)), strict=True))
        self.metrics.image("answered")
        height, width = decoded.size
        answers = [found[name] for name in names]
        return ImageAnswers(file=upload.filename or "", width=width, height=height, answers=answers, error=None)

    async def _ask(self, name: str, decoded: Decoded, wanted: Wanted) -> Answer:
        model = self.batchers[name].model
        said = await asyncio.wrap_future(self.batchers[name].submit(decoded.pictures[self.columns[name]], drawn=wanted.drawn))
        # Pictures of whole images take a while to write, and requests should not wait for each other's.
        return await asyncio.to_thread(model.write, said, wanted) if model.facts.whole else model.write(said, wanted)


@contextmanager
def open_service(request: Request, *, decode: str | None = None) -> Iterator[Service]:
    """Open the models of --serve, and all that answers need; threads and processes end with the block.

    Args:
        request: what the command line asks for.
        decode: 'module:function' in place of the usual decoder, for files that are to crash it.

    Raises:
        UserError: a model cannot be served.
    """
    reject = request.config.look.reject
    if reject is not None and not 0 <= reject <= 1:
        raise UserError(f"--reject {reject}: write a probability from 0 to 1")
    limits, metrics = read_limits(request.config.serve), Metrics()
    models = open_models(request, assemble.open_machine(request.config, training=False))
    for model in models:
        log().info(f"model     {model.facts.name}: {model.facts.description}")
    wanted = {model.facts.name: Form(model.facts.preprocess, model.facts.whole) for model in models}
    forms = tuple(dict.fromkeys(wanted.values()))
    columns = {name: forms.index(form) for name, form in wanted.items()}
    job = DecodingJob(forms, limits.max_pixels, limits.decode_seconds, *filter(None, [decode]))
    workers = request.config.data.workers or default_workers()
    decoders = DecoderPool(job, workers, replaced=metrics.replaced)
    log().info(f"decoding  {counted(workers, 'process', 'processes')}")
    size, wait = request.config.data.batch_size, request.config.serve.wait_ms / 1000
    batchers = {model.facts.name: Batcher(model, size=size, wait=wait, metrics=metrics) for model in models}
    try:
        yield Service(batchers, decoders, columns, limits, metrics, asyncio.Semaphore(2 * workers))
    finally:
        decoders.close()
        for batcher in batchers.values():
            batcher.close()
