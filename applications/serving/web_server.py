"""uvicorn, ended by signals as every action of this program is, and without patience for those who ask nothing."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from applications.serving.access import BODY_SECONDS
from utils.interruptible import heard

# What requests that are under way get to finish.
SECONDS_TO_END = 10
# Connections at a time; more are told to try again.
CONNECTIONS = 512
# In which the whole header of a request must have been sent: connections without one would keep others out.
HEADER_SECONDS = 10.0


class ImpatientProtocol(H11Protocol):
    """Closes connections whose next request does not come, where uvicorn would wait for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()
        elif self._timer is None:
            # Whoever still sends the body of a refused request reads why after it.
            seconds = BODY_SECONDS if self.conn.their_state is h11.SEND_BODY else HEADER_SECONDS
            self._timer = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WebServer(uvicorn.Server):
    """Serves an application until a signal comes."""

    def __init__(self, app: FastAPI) -> None:
        # Its own lines would tell of every request; errors still reach the terminal.
        super().__init__(
            uvicorn.Config(
                app,
                http=ImpatientProtocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=SECONDS_TO_END,
                lifespan="off",
            )
        )
        self.received = 0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take note of signals, where uvicorn would raise them again at its end."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, *heard())}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # A second one does not wait for requests; of a closed terminal both the shell and the kernel tell.
        self.force_exit = bool(self.received) and number in (signal.SIGINT, signal.SIGTERM)
        self.received = self.received or (number if number == signal.SIGINT else signal.SIGTERM)
        self.should_exit = True
        del frame

    def run_until_signal(self, listener: socket.socket) -> int:
        """Serve; return 128 plus the signal that ended it."""
        self.run(sockets=[listener])
        return 128 + self.received if self.received else 0
