"""--compile auto: a run is compiled where that saves time."""

from pathlib import Path

import pytest

from applications.training import compile_choice, planning, training_parts
from applications.training.compile_choice import CompileTimes, worth_trying
from tests.applications.conftest import Call, tiny
from utils.checkpoint import load_checkpoint
from utils.errors import UserError


def test_short_runs_and_many_sizes_are_not_tried() -> None:
    assert not worth_trying(300, 1)
    assert worth_trying(3600, 1)
    assert not worth_trying(1000, 3)


def test_every_size_but_the_first_is_compiled_again() -> None:
    measured = CompileTimes(plain=1.0, compiled=0.8, compiling=50)
    assert measured.saved(1000, 1) == pytest.approx(200)
    assert measured.saved(1000, 3) == pytest.approx(100)
    assert CompileTimes(1.0, 1.1, 50).saved(1000, 1) < 0


def _said(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch, outcome: object) -> tuple[str, str]:
    monkeypatch.setattr(compile_choice, "worth_trying", lambda *_: True)
    monkeypatch.setattr(compile_choice, "SECONDS", 0.01)
    seconds = iter((0.01, 0.005))
    monkeypatch.setattr(compile_choice, "_per_image", lambda _: next(seconds))
    compiled = []

    def compile_it(network: object) -> None:
        compiled.append(network)
        if isinstance(outcome, Exception):
            raise outcome

    monkeypatch.setattr(compile_choice, "compile_training", compile_it)
    monkeypatch.setattr("applications.assemble.network.compile_training", lambda _: None)
    done = call(*tiny(colors, "--epochs", 1, "--compile", "auto"))
    assert done.code == 0
    assert compiled
    line = next(line for line in done.out.splitlines() if "compile " in line)
    return line, load_checkpoint(done.run / "last.pt")["config"]["compile"]


def test_what_is_faster_is_compiled_and_the_choice_is_kept(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, kept = _said(call, colors, monkeypatch, None)
    assert "on: steps take 50% less once compiled" in line
    assert kept == "on"


@pytest.mark.parametrize("failure", [UserError("there is no C++ compiler"), RuntimeError("broken\nmore"), ValueError()])
def test_a_compiler_that_fails_does_not_end_the_run(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    line, kept = _said(call, colors, monkeypatch, failure)
    assert "off: " in line
    assert "more" not in line
    assert kept == "off"


def test_a_short_run_says_why_it_is_not_compiled(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_choice, "SECONDS", 0.01)
    done = call(*tiny(colors, "--epochs", 1, "--compile", "auto"))
    assert "off: training takes about 1 s, and compiling takes about 60 s" in done.out


def test_steps_are_not_timed_where_the_time_of_the_run_says_enough(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(_: object) -> float:
        raise AssertionError("steps are timed")

    monkeypatch.setattr(compile_choice, "_per_image", timed)
    monkeypatch.setattr(planning, "program_seconds", lambda: 0.0)
    begun = training_parts.program_seconds()
    monkeypatch.setattr(training_parts, "program_seconds", lambda now=training_parts.program_seconds: now() - begun)
    flags = tiny(colors, "--compile", "auto")
    at = flags.index("--epochs")
    done = call(*flags[:at], *flags[at + 2 :], "--minutes", 0.05)
    assert "off: training takes about 3 s, and compiling takes about 60 s" in done.out, done.err
