"""From a file that was sent to what the models say of it."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from fastapi import UploadFile

from applications import assemble
from applications.explain.heat_maps import Explainer
from applications.explain.methods import named_methods
from applications.serving.batching import Batcher, ModelAnswer
from applications.serving.decoder_pool import DecoderPool
from applications.serving.decoding import Decoded, DecodingJob, Refused
from applications.serving.metrics import Metrics
from applications.serving.schema import Answer, ImageAnswers, LabelShare
from applications.serving.served_models import ModelFacts, open_models
from applications.serving.settings import Limits, read_limits
from applications.settings.options import Request
from utils.cores import default_workers
from utils.errors import UserError
from utils.images import data_uri
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

    async def answer(self, upload: UploadFile, names: Sequence[str], top: int, heat: bool) -> ImageAnswers | Refused:
        """Return what the named models say of a file."""
        async with self.reading:
            data = await upload.read()
            decoded = await asyncio.wrap_future(self.decoders.submit(data))
        if isinstance(decoded, Refused):
            self.metrics.image(decoded.outcome)
            return decoded
        answers = await asyncio.gather(*(self._ask(name, decoded, heat) for name in names))
        self.metrics.image("answered")
        written = [
            answer_of(self.batchers[name].model.facts, each.answer.probabilities, each.answer.named, top, each.heat)
            for name, each in zip(names, answers, strict=True)
        ]
        return ImageAnswers(file=upload.filename or "", width=decoded.size[1], height=decoded.size[0], answers=written, error=None)

    async def _ask(self, name: str, decoded: Decoded, heat: bool) -> ModelAnswer:
        return await asyncio.wrap_future(self.batchers[name].submit(decoded.pictures[self.columns[name]], heat=heat))


def answer_of(facts: ModelFacts, probabilities: np.ndarray, named: np.ndarray, top: int, heat: np.ndarray | None = None) -> Answer:
    """Return what a model says, as the API writes it: as --predict does, it names nothing below the stored probabilities.

    Args:
        facts: the model.
        probabilities: (C,).
        named: bool (C,), the classes that it names.
        top: how many classes are listed.
        heat: the image with its heat map, uint8 (h, w, 3).
    """
    order = np.argsort(-probabilities, kind="stable").tolist()
    shares = [LabelShare(label=facts.classes[label], probability=float(probabilities[label])) for label in order]
    counts = [bool(named[label]) and (facts.reject is None or probabilities[label] >= facts.reject[label]) for label in order]
    labels = [share for share, counted in zip(shares, counts, strict=True) if counted]
    return Answer(
        model=facts.name,
        labels=labels,
        unsure=not labels and bool(named.any()),
        top=shares[:top],
        heat_map=None if heat is None else data_uri(heat),
    )


@contextmanager
def open_service(request: Request, *, decode: str | None = None) -> Iterator[Service]:
    """Open the models of --serve, and all that answers need; threads and processes end with the block.

    Args:
        request: what the command line asks for.
        decode: 'module:function' in place of the usual decoder, for files that are to crash it.

    Raises:
        UserError: a model cannot be served, or --visual_method names none or several.
    """
    method, reject = _one_method(request), request.config.look.reject
    if reject is not None and not 0 <= reject <= 1:
        raise UserError(f"--reject {reject}: write a probability from 0 to 1")
    limits, metrics = read_limits(request.config.serve), Metrics()
    models = open_models(request, assemble.open_machine(request.config, training=False), method)
    for model in models:
        log().info(f"model     {model.facts.name}: {model.facts.description}")
    preprocesses = tuple(dict.fromkeys(model.facts.preprocess for model in models))
    columns = {model.facts.name: preprocesses.index(model.facts.preprocess) for model in models}
    job = DecodingJob(preprocesses, limits.max_pixels, limits.decode_seconds, *filter(None, [decode]))
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


def _one_method(request: Request) -> str:
    asked = request.config.look.visual_method or Explainer.default
    methods = named_methods(asked)
    if len(methods) > 1:
        raise UserError(f"--visual_method {asked}: --serve draws one kind of heat map; name one")
    return methods[0]
