"""A decoder that some files crash or hold up: what happens when a library has such a fault."""

import os
import time

from applications.serving.decoding import Decoded, DecodingJob, Refused
from applications.serving.decoding import decode as usual

CRASHES, HANGS = b"CRASH", b"HANGS"


def decode(data: bytes, job: DecodingJob) -> Decoded | Refused:
    if data == CRASHES:
        os.abort()
    if data == HANGS:
        time.sleep(600)
    return usual(data, job)
