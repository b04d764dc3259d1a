"""Decoders that keep their lines to themselves: what is wrong with a file is said in one line of ours."""

import ctypes
import logging
from contextlib import suppress
from functools import cache

from PIL import Image


@cache
def silence_decoders() -> None:
    """Keep Pillow's logger and libtiff from writing to the terminal, in this process and in those that it forks.

    libtiff is told so itself. To close the stream of errors meanwhile would take the lines of other threads with it.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        # Found among the libraries that Pillow is linked with; one that is built into Pillow keeps talking.
        pillow = ctypes.CDLL(Image.core.__file__)
        for setter in (pillow.TIFFSetErrorHandler, pillow.TIFFSetWarningHandler):
            setter.restype = ctypes.c_void_p
            setter(ctypes.c_void_p())
