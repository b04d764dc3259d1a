"""The terminal, a pipe or a file behind stdout and stderr: what they cannot take must not end a training."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

# The signal of a pipe that nobody reads, by its number on every system.
READER_LEFT = 13


class SafeStream(io.TextIOWrapper):
    """A stream that writes what its encoding lacks in escapes, and drops what nobody can read any more.

    Args:
        stream: taken over; it is not to be used any more.
        name: what it is called in a message.
    """

    def __init__(self, stream: io.TextIOWrapper, name: str) -> None:
        encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
        super().__init__(stream.detach(), encoding, "backslashreplace", line_buffering=by_line, write_through=at_once)
        self.called = name
        self.reader_left = False

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send what is still waiting, and all that follows, nowhere; say it once where it can be said."""
        if isinstance(error, BlockingIOError):
            return
        self.reader_left = error.errno == errno.EPIPE
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        if not self.reader_left and self is not sys.stderr:
            reason = (error.strerror or str(error)).lower()
            print(f"warning: {self.called} cannot be written ({reason}); continuing without it", file=sys.stderr)


def open_streams() -> None:
    """Replace stdout and stderr by streams that survive a closed reader; closed ones discard what is written."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened, a checkpoint perhaps, would be taken for it.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _sturdy(sys.stdout, 1, "stdout"), _sturdy(sys.stderr, 2, "stderr")


def _sturdy(stream: TextIO | None, number: int, name: str) -> TextIO:
    if stream is None:
        stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it lives as long as the process
    return SafeStream(stream, name) if isinstance(stream, io.TextIOWrapper) else stream


def reader_left() -> bool:
    """Whether the program at the other end of a pipe, such as head, has stopped reading what this one says."""
    return isinstance(sys.stdout, SafeStream) and sys.stdout.reader_left
