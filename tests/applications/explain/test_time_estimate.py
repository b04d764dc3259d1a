"""Claims about announced durations: they come before the work, name what is slow, and grow with it."""

from collections.abc import Callable

import pytest

from applications.evaluation import time_estimate
from applications.explain import time_estimate as heat_map_times
from tests.applications.conftest import NETS, Call, tiny
from utils.timing import Timing, in_words

ARCH = ("--arch", f"{NETS}:TinyNet")


def answering(*seconds: float) -> Callable[..., list[Timing]]:
    """Return a stand-in for `measure_times` that gives these medians."""

    def measure(*_calls: object, **_options: object) -> list[Timing]:
        return [Timing(each, each, each, 9, 0.0) for each in seconds]

    return measure


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (41.4, "41 s"), (190, "3 min"), (9000, "2.5 h")])
def test_durations_are_said_as_a_person_would(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


def test_an_evaluation_says_how_long_it_takes_before_it_begins(call: Call, colors, monkeypatch: pytest.MonkeyPatch) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    monkeypatch.setattr(time_estimate, "ENOUGH", 1)
    # A second to read an image, eight to look at eight: of one process without helpers two seconds an image.
    monkeypatch.setattr(time_estimate, "measure_times", answering(1.0, 8.0))
    outcome = call("--evaluation", "--resume", run, *ARCH, "--workers", 0, "--no_report")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    images = int(next(line for line in lines if line.startswith("data ")).split(":")[1].split()[0])
    wait = next(number for number, line in enumerate(lines) if line.startswith("time  "))
    assert lines[wait].split("about ")[1] == in_words(2.0 * images)
    assert wait < next(number for number, line in enumerate(lines) if "loss" in line and "images)" in line)


def test_heat_maps_name_the_slow_methods_before_they_begin(call: Call, colors, monkeypatch: pytest.MonkeyPatch) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    # The whole network takes eight times as long as what is behind the map.
    monkeypatch.setattr(heat_map_times, "measure_times", answering(8.0, 1.0))
    outcome = call("--visual_method", "grad-cam,score-cam", "--resume", run, *ARCH, "--limit", 3)
    assert outcome.code == 0, outcome.err
    said = next(line for line in outcome.out.splitlines() if line.startswith("time  "))
    assert "for 3 images" in said
    assert "score-cam takes" in said
    assert "grad-cam takes" not in said
    assert "believed takes" in said
