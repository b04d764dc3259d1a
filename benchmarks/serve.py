"""How many requests --serve answers on this machine, with hostile files among them.

    python -m benchmarks.serve --model RUN [--requests 2000] [--clients 8]

Each request sends one JPEG of 640 x 480 pixels, generated. One in twenty sends a file that is cut off, text, a decompression bomb, or
one at which the decoder crashes or hangs (by a decoder made for it). Goals: every request gets the status that belongs to its file, and
the memory of the server and its processes, once warm, does not grow by more than 5%.
"""

import http.client
import io
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from applications.serving.decoding import Decoded, DecodingJob, Refused
from applications.serving.decoding import decode as usual
from utils.cores import available_cores
from utils.flags import add_flags, flag, make_parser

SERVER = """
import sys
import config
from applications.serving.serve import serve
from utils.logs import open_logging
open_logging(speaks=True)
sys.exit(serve(config.parse(sys.argv[1:]), decode="benchmarks.serve:decode"))
"""
BOUNDARY = "darkroom-benchmark"
CRASHES, HANGS = b"CRASH", b"HANGS"
GROWTH = 1.05


@dataclass(frozen=True)
class ServeOptions:
    """What is asked, and how often."""

    model: str = flag("", "run, checkpoint or exported file")
    requests: int = flag(2_000, "in all")
    clients: int = flag(8, "that ask at the same time")
    every: int = flag(20, "one request in so many is hostile")
    hang_seconds: float = flag(5.0, "that the server gives a decoder")


def decode(data: bytes, job: DecodingJob) -> Decoded | Refused:
    """Decode as the server does, but crash or hang at two files."""
    if data == CRASHES:
        os.abort()
    if data == HANGS:
        time.sleep(600)
    return usual(data, job)


def photographs(count: int = 16) -> list[bytes]:
    """Return JPEG files of smooth colors with some noise."""
    rng, files = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        noisy = np.asarray(coarse) + rng.normal(0, 8, (480, 640, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def hostile(good: bytes) -> list[tuple[bytes, int]]:
    """Return files with the status that belongs to each."""
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    return [(good[: len(good) // 2], 422), (b"no image at all", 415), (bomb.getvalue(), 413), (CRASHES, 422), (HANGS, 422)]


def form(content: bytes) -> bytes:
    """Return a form that sends a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def memory(pid: int) -> int:
    """Return the bytes that a process and all below it hold alone or share, each shared page counted once for all."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    rolled = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), flags=re.M)
    assert rolled is not None
    return 1024 * int(rolled[1]) + sum(memory(int(child)) for child in children)


class Load:
    """Clients that ask until all requests are made."""

    def __init__(self, port: int, pid: int, options: ServeOptions) -> None:
        self.port, self.pid, self.options = port, pid, options
        self.numbers = itertools.count()
        good = photographs()
        self.good, self.hostile = [form(each) for each in good], [(form(each), status) for each, status in hostile(good[0])]
        self.seconds: list[float] = []
        self.wrong: Counter[str] = Counter()
        self.memories: list[int] = []

    def client(self) -> None:
        """Ask over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while (number := next(self.numbers)) < self.options.requests:
            turn, odd = divmod(number, self.options.every)
            body, status = (self.good[number % len(self.good)], 200) if odd else self.hostile[turn % len(self.hostile)]
            started = time.perf_counter()
            connection.request("POST", "/api/predict", body, kind)
            answer = connection.getresponse()
            said = answer.read()
            # What is refused for its size or its time says nothing of speed.
            if status == 200:
                self.seconds.append(time.perf_counter() - started)
            if answer.status != status:
                self.wrong[f"{answer.status} for {status}: {said[:120].decode()}"] += 1
            if (number + 1) % (self.options.requests // 4) == 0:
                self.memories.append(memory(self.pid))

    def run(self) -> float:
        """Return the seconds that all took."""
        threads = [threading.Thread(target=self.client) for _ in range(self.options.clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started


def main() -> int:
    """Start a server, load it, print the figures; return 1 where a goal was missed."""
    parser = make_parser("python -m benchmarks.serve", "python -m benchmarks.serve --model RUN [FLAGS]", __doc__ or "")
    add_flags(parser, "load", ServeOptions)
    options = ServeOptions(**vars(parser.parse_args()))
    flags = ["--serve", options.model, "--port", "0", "--decode_seconds", str(options.hang_seconds)]
    server = subprocess.Popen([sys.executable, "-c", SERVER, *flags], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("serving"))
        found = re.search(r":(\d+)/", line)
        assert found is not None
        load = Load(int(found[1]), server.pid, options)
        seconds = load.run()
    finally:
        server.terminate()
        code = server.wait(timeout=60)
    times = np.sort(load.seconds)
    growth = load.memories[-1] / load.memories[0]
    figures = {
        "requests": options.requests,
        "hostile": -(-options.requests // options.every),
        "wrong": dict(load.wrong),
        "requests_per_second": round(options.requests / seconds, 1),
        "p50_ms": round(1000 * float(np.percentile(times, 50)), 1),
        "p99_ms": round(1000 * float(np.percentile(times, 99)), 1),
        "memory_mb": [round(each / 1e6) for each in load.memories],
        "exit_code": code,
        "cores": available_cores(),
        "busy_elsewhere": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(figures, indent=1))
    return 0 if not load.wrong and growth <= GROWTH and code == 143 else 1


if __name__ == "__main__":
    sys.exit(main())
