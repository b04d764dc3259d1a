"""Signs of life of something slow."""

import pytest

from utils import progress_bar
from utils.logs import close_logging, open_logging


@pytest.mark.parametrize(("total", "said"), [(10, ["images 2/10", "images 5/10"]), (None, ["images 2", "images 5"])])
def test_a_pipe_hears_now_and_then_how_far_it_is(
    total: int | None, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_logging(speaks=True)
    try:
        monkeypatch.setattr(progress_bar, "SILENCE", 0.0)
        with progress_bar.progress_bar("images", total) as advance:
            advance(2)
            advance(3)
            monkeypatch.setattr(progress_bar, "SILENCE", 1e6)
            advance(1)
    finally:
        close_logging()
    assert capsys.readouterr().out.splitlines() == said
