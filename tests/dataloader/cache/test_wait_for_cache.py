"""A process that waits for a cache says from time to time that it does not grow."""

from types import SimpleNamespace

from dataloader.cache import wait_for_cache
from dataloader.cache.pixel_store import PIXELS
from dataloader.cache.wait_for_cache import BUILDER, PATIENCE, StallDetector, building_name


def test_a_cache_that_does_not_grow_is_mentioned_now_and_then(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(wait_for_cache, "time", SimpleNamespace(monotonic=lambda: clock.now))
    attempt = tmp_path / building_name("data-train-1-2")
    attempt.mkdir()
    (attempt / BUILDER).write_text("process 7 on here")
    watch = StallDetector(tmp_path, "data-train-1-3")

    def after(seconds: float) -> str:
        clock.now += seconds
        return watch.look()

    assert after(1) == ""
    assert after(PATIENCE - 1) == ""
    assert after(1) == f"process 7 on here has written nothing for {PATIENCE:.0f} s"
    assert after(0.5) == "", "told a moment ago"
    assert after(PATIENCE) == f"process 7 on here has written nothing for {2 * PATIENCE:.0f} s"
    (attempt / PIXELS).write_bytes(b"more")
    assert after(PATIENCE) == "", "it has grown"
    assert after(PATIENCE) == f"process 7 on here has written nothing for {PATIENCE:.0f} s"
