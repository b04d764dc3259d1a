"""Figures of a running server in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

import os
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


class Histogram:
    """Counts values at or below each of its bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        comma, done = "," if labels else "", 0
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self.counts, strict=True):
            done += count
            yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {done}'
        braces = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{braces} {self.total:.9g}"
        yield f"{name}_count{braces} {done}"


class Metrics:
    """Everything that a server counts; any thread may add to it."""

    def __init__(self) -> None:
        self.started = time.time()
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._images: Counter[str] = Counter()
        self._replaced = 0
        self._latency = Histogram(SECONDS)
        self._sizes: dict[str, Histogram] = {}
        self._model_seconds: dict[str, Histogram] = {}

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request; only those to the API have their time kept."""
        with self._lock:
            self._requests[path, status] += 1
            if path == "/api/predict":
                self._latency.add(seconds)

    def image(self, outcome: str) -> None:
        """Count an image: 'answered', or why not."""
        with self._lock:
            self._images[outcome] += 1

    def batch(self, model: str, size: int, seconds: float) -> None:
        """Count a batch that went through a model."""
        with self._lock:
            self._sizes.setdefault(model, Histogram(SIZES)).add(size)
            self._model_seconds.setdefault(model, Histogram(SECONDS)).add(seconds)

    def replaced(self) -> None:
        """Count a decoding process that was replaced."""
        with self._lock:
            self._replaced += 1

    def render(self, waiting: Mapping[str, int]) -> str:
        """Return all figures; `waiting` is how many images wait for each model."""
        with self._lock:
            return "\n".join(self._lines(waiting)) + "\n"

    def _lines(self, waiting: Mapping[str, int]) -> Iterator[str]:
        yield from _head("darkroom_requests_total", "counter", "requests by path and status")
        for (path, status), count in sorted(self._requests.items()):
            yield f'darkroom_requests_total{{path="{escaped(path)}",status="{status}"}} {count}'
        yield from _head("darkroom_images_total", "counter", "images by what became of them")
        for outcome, count in sorted(self._images.items()):
            yield f'darkroom_images_total{{outcome="{outcome}"}} {count}'
        yield from _head("darkroom_decoders_replaced_total", "counter", "decoding processes that crashed or took too long")
        yield f"darkroom_decoders_replaced_total {self._replaced}"
        yield from _head("darkroom_predict_seconds", "histogram", "time of a request for answers")
        yield from self._latency.lines("darkroom_predict_seconds", "")
        yield from _head("darkroom_batch_images", "histogram", "images that went through a model together")
        for model, found in self._sizes.items():
            yield from found.lines("darkroom_batch_images", f'model="{escaped(model)}"')
        yield from _head("darkroom_batch_seconds", "histogram", "time of a batch in a model, heat maps included")
        for model, found in self._model_seconds.items():
            yield from found.lines("darkroom_batch_seconds", f'model="{escaped(model)}"')
        yield from _head("darkroom_waiting_images", "gauge", "images that wait for a model")
        for model, count in waiting.items():
            yield f'darkroom_waiting_images{{model="{escaped(model)}"}} {count}'
        yield from _head("process_start_time_seconds", "gauge", "when the server started, since 1970")
        yield f"process_start_time_seconds {self.started:.3f}"
        if (memory := resident_bytes()) is not None:
            yield from _head("process_resident_memory_bytes", "gauge", "memory of the server, without its decoding processes")
            yield f"process_resident_memory_bytes {memory}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def escaped(text: str) -> str:
    """Return a text as it stands between the quotes of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resident_bytes() -> int | None:
    """Return the memory of this process; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
