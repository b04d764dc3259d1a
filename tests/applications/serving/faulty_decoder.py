"""A decoder that some files crash, hold up or bloat: what happens when a library has such a fault."""

import os
import time

from applications.serving.decoding import Decoded, DecodingJob, Refused
from applications.serving.decoding import decode as usual

CRASHES, HANGS, BLOATS = b"CRASH", b"HANGS", b"BLOATS"


def decode(data: bytes, job: DecodingJob) -> Decoded | Refused:
    if data == CRASHES:
        os.abort()
    if data == HANGS:
        time.sleep(600)
    if data == BLOATS:
        try:
            # None of it is touched, so that it costs nothing where nobody forbids it.
            bytearray(2**32)
        except MemoryError:
            return Refused("too_large", "the memory is limited")
    return usual(data, job)
