"""The JSON API and the page (OpenAPI: /openapi.json)."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, HTTPException, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.requests import Request as WebRequest
from starlette.staticfiles import StaticFiles

from applications.serving.access import Gate, said
from applications.serving.decoding import Refused
from applications.serving.schema import Error, Health, ImageAnswers, LimitsInfo, ModelInfo, Models, Predictions
from applications.serving.served_model import ModelFacts, Wanted
from applications.serving.service import Service

PAGE = Path(__file__).parent / "page"
STATUS = {"no_image": 415, "too_large": 413, "damaged": 422, "crashed": 422, "slow": 422}
ERRORS = {
    400: "the form cannot be read",
    401: "the token is missing or wrong",
    404: "no model of that name",
    408: "the request took too long to arrive",
    413: "too many bytes, images or pixels",
    415: "no image among the files",
    422: "no file could be decoded, or a parameter is wrong",
    503: "busy, or no file can be decoded now; try again",
}


def build_app(service: Service, *, token: str | None, own_name: str | None) -> FastAPI:
    """Return the application.

    Args:
        service: answers.
        token: that every request to the API must carry; None asks for none.
        own_name: of this machine, where only its own programs can ask; then other names are not answered to.
    """
    app = FastAPI(
        title="Darkroom",
        description="Answers of trained image models.",
        docs_url=None,
        redoc_url=None,
        responses={status: {"model": Error, "description": text} for status, text in ERRORS.items()},
    )
    app.state.service = service
    _add_page(app)
    _add_state(app, service)
    _add_predict(app, service)

    @app.exception_handler(Exception)
    async def failed(request: WebRequest, error: Exception) -> JSONResponse:
        del request, error
        return said(500, "the model failed at this request; the server's terminal says why")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: WebRequest, error: RequestValidationError) -> JSONResponse:
        del request
        return said(422, "; ".join(dict.fromkeys(_mistake(each) for each in error.errors())))

    paths = frozenset({"/", "/openapi.json", "/health", "/metrics", "/api/models", "/api/predict"})
    app.add_middleware(Gate, metrics=service.metrics, paths=paths, token=token, own_name=own_name, max_bytes=service.limits.max_bytes)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _add_state(app: FastAPI, service: Service) -> None:
    facts = [batcher.model.facts for batcher in service.batchers.values()]
    limits = service.limits

    @app.get("/health", summary="Whether answers can be had; it needs no token")
    async def health() -> Health:
        # An empty file costs nothing, and finds out whether a decoder can be started by now.
        if service.decoders.is_empty():
            _look_for_decoder([await asyncio.wrap_future(service.decoders.submit(b""))])
        return Health(status="ok", seconds=time.time() - service.metrics.started)

    @app.get("/metrics", summary="Figures in the text format of Prometheus", response_class=PlainTextResponse)
    async def metrics() -> str:
        return service.metrics.render({name: batcher.waiting() for name, batcher in service.batchers.items()})

    @app.get("/api/models", summary="The models, and what a request may cost")
    async def models() -> Models:
        return Models(
            models=[model_info(each) for each in facts],
            limits=LimitsInfo(
                bytes=limits.max_bytes, images=limits.max_images, pixels=limits.max_pixels, decode_seconds=limits.decode_seconds
            ),
        )


def model_info(facts: ModelFacts) -> ModelInfo:
    """Return what the API says of a model."""
    return ModelInfo(
        name=facts.name,
        task=facts.task,
        description=facts.description,
        classes=list(facts.classes),
        several_labels=facts.several,
        reject=None if facts.reject is None else dict(zip(facts.classes, facts.reject, strict=True)),
        image_size=list(facts.preprocess.image_size),
        heat_map=facts.heat_map,
        threshold=facts.threshold,
    )


def _add_predict(app: FastAPI, service: Service) -> None:
    limits, first = service.limits, next(iter(service.batchers))
    busy = 0

    @app.post("/api/predict", summary="Answers for images")
    async def predict(
        files: Annotated[list[UploadFile], File(description="images, of any kind that training reads")],
        model: Annotated[list[str] | None, Query(description="names of models, or 'all'; by default the first")] = None,
        top: Annotated[int, Query(ge=1, le=1000, description="how many classes are listed")] = 5,
        heat_map: Annotated[bool, Query(description="also draw the answer over the image, or what spoke for it")] = False,
        mask: Annotated[bool, Query(description="send the masks of segmenters and detectors of defects, too")] = True,
    ) -> Predictions:
        """A file that cannot be read has `error` in place of answers; where none of the files can be read, the status says so, too."""
        nonlocal busy
        names = list(service.batchers) if model and "all" in model else list(dict.fromkeys(model or [first]))
        for name in names:
            if name not in service.batchers:
                raise HTTPException(404, f"there is no model {name!r}; known: {', '.join(service.batchers)}")
        if len(files) > limits.max_images:
            raise HTTPException(413, f"{len(files)} images in one request; at most {limits.max_images}")
        if busy + len(files) > limits.max_waiting:
            raise _later(f"{busy} images are under way; try again")
        busy += len(files)
        try:
            found = await asyncio.gather(*(service.answer(file, names, Wanted(top, heat_map, mask)) for file in files))
        finally:
            busy -= len(files)
        _look_for_decoder(found)
        refused = [each for each in found if isinstance(each, Refused)]
        if len(refused) == len(found):
            reasons = dict.fromkeys(f"{file.filename}: {each.reason}" for file, each in zip(files, refused, strict=True))
            raise HTTPException(STATUS[refused[0].outcome], "; ".join(reasons))
        return Predictions(images=[_written(file, each) for file, each in zip(files, found, strict=True)])


def _later(line: str) -> HTTPException:
    return HTTPException(503, line, {"Retry-After": "1"})


def _look_for_decoder(found: Sequence[object]) -> None:
    """Raise HTTPException where there was no decoder for a file, which may be a good one."""
    for each in found:
        if isinstance(each, Refused) and each.outcome == "no_decoder":
            raise _later(each.reason)


def _mistake(error: Mapping[str, Any]) -> str:
    """Return what FastAPI finds wrong with a request in a line."""
    part, *where = error["loc"]
    return "send a form with one image or more as files in fields 'files'" if part == "body" else f"{where[0]}: {error['msg']}"


def _written(file: UploadFile, found: ImageAnswers | Refused) -> ImageAnswers:
    if isinstance(found, ImageAnswers):
        return found
    return ImageAnswers(file=file.filename or "", width=None, height=None, answers=[], error=found.reason)
