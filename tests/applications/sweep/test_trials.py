"""A trial that another process still trains is waited for; only what a training has reached, or why it failed, is kept."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("fcntl")

import config
from applications.sweep import trial_processes, trials
from applications.sweep.halving import Rung
from applications.sweep.space import parse_space
from applications.sweep.study import Figure, SweepStudy
from applications.sweep.trials import TrialRunner, shared_by
from utils.environment import ROOT
from utils.errors import UserError

# In place of main.py: how it was called, and what it has reached.
TRAINING = """
import json, sys
from pathlib import Path
how, where = sys.argv[1:3]
if how == "--config":
    known = json.loads(Path(where).read_text())
    where = Path(known["logdir"]) / "toy" / known["name"]
    where.mkdir(parents=True)
Path(where, "reached").write_text(how)
"""
# What a sweep that was killed leaves: a training that holds its run, and ends by itself.
LEFT = """
import sys, time
from pathlib import Path
from utils.files import locked
run = Path(sys.argv[1])
run.mkdir(parents=True)
with locked(run / "log.txt"):
    print("held", flush=True)
    sys.stdin.readline()
    time.sleep(1)
    (run.parent.parent.parent / "seen").write_text(str((run / "log.txt").is_file()))
    if sys.argv[2] == "saves":
        (run / "last.pt").touch()
"""
NAME = "trial-000-rung-0"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return SweepStudy(tmp_path / "study", parse_space("lr=1e-4..1e-1"), 0)


@pytest.fixture
def runner(tmp_path: Path, study: SweepStudy, monkeypatch: pytest.MonkeyPatch) -> TrialRunner:
    """Return what runs one trial, with TRAINING in place of a training."""
    (tmp_path / "main.py").write_text(TRAINING)
    monkeypatch.setattr(trial_processes, "ROOT", tmp_path)

    def read_figure(run: Path) -> Figure:
        return (0.5, -1.0) if (run / "reached").is_file() else None

    monkeypatch.setattr(trials, "read_figure", read_figure)
    assert study.propose() == 0
    return TrialRunner(tmp_path, {}, (), study, [Rung(1, 1, "epochs")], jobs=1, gpus=(), seed=0)


def run_of(tmp_path: Path) -> Path:
    return tmp_path / "runs/toy" / NAME


@contextmanager
def left_training(tmp_path: Path, does: str) -> Iterator[subprocess.Popen]:
    """Let another process train in the run of the trial; it ends a moment after a line is written to it."""
    command = [sys.executable, "-c", LEFT, str(run_of(tmp_path)), does]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.mark.parametrize(("does", "how"), [("saves", "--resume"), ("is killed before it saves", "--config")])
def test_a_run_that_is_still_trained_is_waited_for_and_never_removed_under_way(
    tmp_path: Path, runner: TrialRunner, study: SweepStudy, caplog: pytest.LogCaptureFixture, does: str, how: str
) -> None:
    with left_training(tmp_path, does) as other, caplog.at_level("INFO", logger="darkroom"):
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        runner.run_rung(0)
    waits, ended = caplog.messages
    assert waits == f"waits     another process is training in {run_of(tmp_path)}: this sweep goes on when that has ended"
    assert ended.startswith(f"{NAME}  val 50.00%")
    assert (tmp_path / "seen").read_text() == "True"
    assert (run_of(tmp_path) / "reached").read_text() == how
    assert study.figures(0) == {0: (0.5, -1.0)}


def test_a_run_that_is_taken_in_between_ends_the_sweep_and_is_no_failure(
    tmp_path: Path, runner: TrialRunner, study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom utils.errors import UserError\nfrom utils.files import locked\n"
        "try:\n    with locked(Path(sys.argv[2]) / 'log.txt'): pass\n"
        "except UserError as error:\n    print(f'error: {error}'); sys.exit(2)\n"
    )
    with left_training(tmp_path, "saves"):
        (run_of(tmp_path) / "last.pt").touch()
        monkeypatch.setattr(trials, "wait_for", lambda _: None)
        with pytest.raises(UserError, match=f"^--sweep: another process is training in {run_of(tmp_path)}; the same command") as caught:
            runner.run_rung(0)
    assert "\n" not in str(caught.value)
    assert study.figures(0) == {}


@pytest.mark.parametrize("end", ["sys.exit(130)", "sys.exit(143)", "os.kill(os.getpid(), 15)", "os.kill(os.getpid(), 2)"])
def test_a_training_that_was_asked_to_end_has_not_failed(tmp_path: Path, runner: TrialRunner, study: SweepStudy, end: str) -> None:
    (tmp_path / "main.py").write_text(f"import os, signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n{end}\n")
    with pytest.raises(KeyboardInterrupt):
        runner.run_rung(0)
    assert study.figures(0) == {}


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os.kill(os.getpid(), 9)", r"it was ended by SIGKILL \(often for lack of memory\)"),
        ("sys.exit(0)", "it ended without a figure of validation"),
        ("print('error: too few'); sys.exit(2)", "too few"),
    ],
)
def test_a_failure_is_told_with_its_reason_and_what_was_tried(
    tmp_path: Path, runner: TrialRunner, caplog: pytest.LogCaptureFixture, end: str, why: str
) -> None:
    (tmp_path / "main.py").write_text(f"import os, sys\n{end}\n")
    (tmp_path / "trials" / f"{NAME}.txt").write_text("error: of an earlier call\n")
    with pytest.raises(UserError, match=f"the first 1 trials all failed, the last one so: {why}$"):
        runner.run_rung(0)
    assert re.search(rf"^{NAME} \(lr=[\d.e-]+\) failed: {why}$", caplog.messages[-1])


def test_a_trial_is_told_what_is_to_be_absent_whatever_a_recipe_says(runner: TrialRunner, tmp_path: Path) -> None:
    settings = {"recipe": "standard", "ema": None, "mixup": False}
    process = runner._process((0, 0), NAME, settings)
    assert process.argv == ["--config", str(tmp_path / "trials" / f"{NAME}.json"), "--no_ema"]
    assert config.parse([*process.argv]).config.optim.ema is None


def test_a_trial_with_another_optimizer_has_none_of_the_rates_of_a_file() -> None:
    base = {"opt": "lars", "lr": 1.0, "weight_decay": 5e-4, "epochs": 3}
    assert shared_by(base, {"opt": "adamw"}, ()) == {"opt": "lars", "epochs": 3}
    assert shared_by(base, {"opt": "adamw"}, ("lr",)) == {"opt": "lars", "lr": 1.0, "epochs": 3}
    assert shared_by(base, {"opt": "nlars"}, ()) == shared_by(base, {"mixup": True}, ()) == base
