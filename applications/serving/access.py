"""Who may ask, and how much: checked before anything of a request is read."""

import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from applications.serving.metrics import Metrics

# The page itself tells nothing; it asks for the token.
OPEN = ("/", "/health")
PAGE_FILES = "/page/"
UNKNOWN = "other"
BODY_SECONDS = 60.0
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach an address."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


@dataclass
class Gate:
    """Refuses requests that may not be answered, in one line each, and counts all.

    Attributes:
        app: what answers the others.
        metrics: told of every request.
        paths: that are counted by name.
        token: that a request must carry; None asks for none.
        own_name: of --host, where only programs of this machine can ask: no name but it and those of every machine for itself is then
            answered to, so that no page of another site can pass itself off as this one. None answers to all.
        max_bytes: of a request.
        seconds: in which a request must have been sent.
    """

    app: ASGIApp
    metrics: Metrics
    paths: frozenset[str]
    token: str | None
    own_name: str | None
    max_bytes: int
    seconds: float = BODY_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        try:
            if refusal is not None:
                await refusal(scope, receive, send_on)
            else:
                await self.app(scope, self._limited(receive), send_on)
        finally:
            path = scope["path"] if scope["path"] in self.paths else UNKNOWN
            self.metrics.request(path, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Callable[..., Awaitable[Any]] | None:
        host = headers.get("host", "")
        name = _hostname(host)
        if self.own_name is not None and name != self.own_name.lower() and not is_loopback(name):
            return said(421, "this server answers to the names of its own machine alone")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return said(403, "another site may not ask")
        path = scope["path"]
        if self.token is not None and path not in OPEN and not path.startswith(PAGE_FILES):
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return said(401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes:
            return said(413, self._too_large(), {"Connection": "close"})
        return None

    def _too_large(self) -> str:
        return f"more than {self.max_bytes / 1e6:g} MB in one request"

    def _limited(self, receive: Receive) -> Receive:
        """Return a `receive` that ends requests that are too long, by their bytes or their time."""
        import asyncio

        read, done, end = 0, False, time.monotonic() + self.seconds

        async def limited() -> Message:
            nonlocal read, done
            if done:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
            except TimeoutError as error:
                raise HTTPException(408, f"the request was not sent within {self.seconds:g} s") from error
            read += len(message.get("body", b""))
            done = not message.get("more_body", False)
            if read > self.max_bytes:
                raise HTTPException(413, self._too_large())
            return message

        return limited


def said(status: int, line: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as every one looks: {"detail": line}."""
    return JSONResponse({"detail": line}, status, headers)


def _hostname(host: str) -> str:
    """Return the name in a Host header, without its port."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""
