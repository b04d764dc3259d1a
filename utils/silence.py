"""Keeps quiet what libraries in C++ write past Python's streams."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_errors() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
