"""Connections of --serve that ask nothing, or slowly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from applications.serving import web_server
from applications.serving.web_server import WebServer

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]
# Of a header; much less than keep-alive's seconds.
PATIENCE = 0.5
HEALTH = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "HEADER_SECONDS", PATIENCE)


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    async def health() -> str:
        return "ok"

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(2 * PATIENCE)
        return "late"

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    return app


@asynccontextmanager
async def served() -> AsyncIterator[Connect]:
    """Serve in this process; yield a function that connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer(small_app())
        running = asyncio.create_task(server.serve(sockets=[listener]))
        port, writers = listener.getsockname()[1], []

        async def connect() -> Streams:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            return reader, writer

        try:
            yield connect
        finally:
            for writer in writers:
                writer.close()
            server.should_exit = True
            await running


async def seconds_until_closed(streams: Streams) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.wait_for(streams[0].read(), 3)
    return loop.time() - started


async def ask(streams: Streams, request: bytes = HEALTH) -> tuple[int, bytes]:
    """Send a request; return the status and the body of its answer."""
    reader, writer = streams
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    return int(head.split()[1]), await reader.readexactly(length)


def test_a_connection_without_a_whole_header_is_closed() -> None:
    async def scenario() -> None:
        async with served() as connect:
            silent, dribbling = await connect(), await connect()

            async def dribble() -> None:
                for letter in HEALTH[:-1]:
                    dribbling[1].write(bytes([letter]))
                    await asyncio.sleep(PATIENCE / 5)

            task = asyncio.create_task(dribble())
            for waited in await asyncio.gather(seconds_until_closed(silent), seconds_until_closed(dribbling)):
                assert PATIENCE / 2 < waited < 2
            task.cancel()

    asyncio.run(scenario())


def test_a_kept_connection_is_closed_when_half_of_its_next_header_comes() -> None:
    async def scenario() -> None:
        async with served() as connect:
            streams = await connect()
            assert await ask(streams) == (200, b'"ok"')
            assert await ask(streams) == (200, b'"ok"'), "whole requests may follow one another"
            streams[1].write(HEALTH[:20])
            assert PATIENCE / 2 < await seconds_until_closed(streams) < 2

    asyncio.run(scenario())


def test_idle_connections_keep_others_out_only_until_they_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "CONNECTIONS", 4)
    monkeypatch.setattr(web_server, "HEADER_SECONDS", 1.0)

    async def scenario() -> None:
        async with served() as connect:
            idle = [await connect() for _ in range(6)]
            assert (await ask(await connect()))[0] == 503
            await asyncio.gather(*map(seconds_until_closed, idle))
            assert (await ask(await connect()))[0] == 200

    asyncio.run(scenario())


def test_slow_bodies_and_slow_answers_are_waited_for() -> None:
    async def scenario() -> None:
        async with served() as connect:
            slow, upload = await connect(), await connect()
            answer = asyncio.create_task(ask(slow, b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n"))
            upload[1].write(b"POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n")
            for letter in b"abc":
                await asyncio.sleep(PATIENCE / 2)
                upload[1].write(bytes([letter]))
            assert await ask(upload, b"d") == (200, b"4")
            assert await answer == (200, b'"late"')

    asyncio.run(scenario())


def test_who_sends_the_body_of_a_refused_request_can_still_read_why() -> None:
    async def scenario() -> None:
        async with served() as connect:
            streams = await connect()
            streams[1].write(b"POST /nothing HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n")
            for letter in b"abc":
                await asyncio.sleep(PATIENCE / 2)
                streams[1].write(bytes([letter]))
            assert (await ask(streams, b"d"))[0] == 404
            assert not streams[0].at_eof()
            assert await ask(streams) == (200, b'"ok"')

    asyncio.run(scenario())
