"""uvicorn, ended by signals as every action of this program is."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from applications.serving.access import BODY_SECONDS

# What requests that are under way get to finish.
SECONDS_TO_END = 10
# Connections at a time; more are told to try again.
CONNECTIONS = 512


class WebServer(uvicorn.Server):
    """Serves an application until a signal comes."""

    def __init__(self, app: FastAPI) -> None:
        # Its own lines would tell of every request; errors still reach the terminal.
        super().__init__(
            uvicorn.Config(
                app,
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
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # The second signal does not wait for requests.
        self.force_exit = bool(self.received)
        self.received = self.received or number
        self.should_exit = True
        del frame

    def run_until_signal(self, listener: socket.socket) -> int:
        """Serve; return 128 plus the signal that ended it."""
        self.run(sockets=[listener])
        return 128 + self.received if self.received else 0
