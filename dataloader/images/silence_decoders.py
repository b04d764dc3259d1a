"""Keep decoders from printing: this program reports what is wrong with a file in one line."""

import ctypes
import logging
from contextlib import suppress
from functools import cache

from PIL import Image


@cache
def silence_decoders() -> None:
    """Keep Pillow's logger and libtiff from writing to the terminal, in this process and in those that it forks.

    libtiff gets an empty error handler; closing stderr meanwhile would also lose the output of other threads.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        # Works where Pillow is linked with a libtiff library; one that is compiled into Pillow keeps printing.
        pillow = ctypes.CDLL(Image.core.__file__)
        for setter in (pillow.TIFFSetErrorHandler, pillow.TIFFSetWarningHandler):
            setter.restype = ctypes.c_void_p
            setter(ctypes.c_void_p())
