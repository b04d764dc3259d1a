"""--resume auto, and checkpoints beside the last one: which run goes on, and from where."""

from dataclasses import replace
from pathlib import Path

import pytest

from applications.training import train
from tests.applications.conftest import NETS, Call, read_rows, start, tiny
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def test_a_job_that_is_started_again_goes_on_and_ends_once(call: Call, colors: Path) -> None:
    command = tiny(colors, "--epochs", 3, "--name", "job", "--resume", "auto")
    first = call(*command, "--max_minutes", 1e-9)
    assert first.code == 0, first.err
    assert "a fresh one begins" in first.out
    again = call(*command)
    assert again.code == 0, again.err
    assert again.run == first.run
    assert [row["epoch"] for row in read_rows(first.run / "metrics.csv")] == ["1", "2", "3"]
    written = (first.run / "last.pt").stat().st_mtime_ns
    done = call(*command)
    assert (done.code, "is complete after 3 epochs" in done.out) == (0, True)
    assert (first.run / "last.pt").stat().st_mtime_ns == written
    assert len(list(Path("runs/classify").iterdir())) == 1


def test_the_newest_run_of_the_name_is_taken_and_no_other(call: Call, colors: Path) -> None:
    for name in ("job", "job", "job-extra", "other"):
        assert call(*tiny(colors, "--epochs", 1, "--name", name)).code == 0
    outcome = call(*tiny(colors, "--epochs", 2, "--name", "job", "--resume", "auto"))
    assert outcome.code == 0, outcome.err
    assert outcome.run.name == "job-2"


def test_without_a_name_a_run_of_other_settings_is_left_alone(call: Call, colors: Path) -> None:
    first = call(*tiny(colors, "--epochs", 1)).run
    for other in (("--seed", 3), ("--weight_decay", 0.3)):
        outcome = call(*tiny(colors, "--epochs", 1, "--resume", "auto", *other))
        assert outcome.code == 0, outcome.err
        assert "trained with other settings; a fresh one begins" in outcome.out
        assert outcome.run != first
    again = call(*tiny(colors, "--epochs", 2, "--resume", "auto"))
    assert again.run == first


def test_a_folder_without_a_checkpoint_is_no_run_to_go_on_with(call: Call, colors: Path) -> None:
    first = call(*tiny(colors, "--epochs", 1, "--name", "job")).run
    (first / "last.pt").unlink()
    outcome = call(*tiny(colors, "--epochs", 1, "--name", "job", "--resume", "auto"))
    assert outcome.run.name == "job-2"


def test_a_fresh_start_may_say_where_it_begins(call: Call, colors: Path) -> None:
    parent = call(*tiny(colors, "--epochs", 1, "--name", "parent")).run
    command = tiny(colors, "--epochs", 2, "--name", "job", "--init_from", parent / "best.pt", "--resume", "auto")
    first = call(*command)
    assert first.code == 0, first.err
    assert "loaded" in first.out
    again = call(*command, "--epochs", 3)
    assert again.code == 0, again.err
    assert again.run == first.run
    assert "loaded" not in again.out


def test_auto_is_for_training(call: Call) -> None:
    outcome = call("--evaluation", "--resume", "auto")
    assert outcome.code == 2
    assert "name the run" in outcome.err


@pytest.mark.slow
def test_several_processes_go_on_with_one_run(colors: Path, tmp_path: Path) -> None:
    command = tiny(colors, "--nproc", 2, "--name", "two", "--resume", "auto")
    for epochs, said in ((1, "a fresh one begins"), (2, "the newest of 1")):
        process = start(*command, "--epochs", epochs, folder=tmp_path)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert out.count(said) == 1
    assert [row["epoch"] for row in read_rows(tmp_path / "runs/classify/two/metrics.csv")] == ["1", "2"]


def test_the_best_checkpoint_says_where_its_run_goes_on(call: Call, colors: Path) -> None:
    run = call(*tiny(colors)).run
    outcome = call("--resume", run / "best.pt", *ARCH, "--epochs", 4)
    assert outcome.code == 2
    assert f"alone: go on with python main.py --resume {run}, or start a new run from them with --init_from" in outcome.err
    (run / "last.pt").unlink()
    outcome = call("--resume", run, *ARCH, "--epochs", 4)
    assert outcome.code == 2
    assert "alone: start a new run from them with --init_from" in outcome.err


def test_an_earlier_checkpoint_goes_on_in_a_folder_of_its_own(call: Call, colors: Path) -> None:
    """In its own folder it would overwrite the later epochs."""
    run = call(*tiny(colors / "train", "--epochs", 3, "--save_every", 1, "--keep", 1, "--name", "whole")).run
    before = (run / "last.pt").read_bytes()
    outcome = call("--resume", run / "epoch-0002.pt", *ARCH)
    assert outcome.code == 0, outcome.err
    assert outcome.run != run
    assert (run / "last.pt").read_bytes() == before
    assert read_rows(outcome.run / "metrics.csv")[1]["val_loss"] == read_rows(run / "metrics.csv")[1]["val_loss"]
    assert [row["epoch"] for row in read_rows(outcome.run / "metrics.csv")] == ["1", "2", "3"]
    one, two = (load_checkpoint(folder / "last.pt")["state_dict"] for folder in (run, outcome.run))
    assert all((value == two[name]).all() for name, value in one.items())
    assert load_checkpoint(outcome.run / "best.pt")["epoch"] == 3, "the best of the epochs whose weights are there"
    assert (outcome.run / "split.csv").read_text() == (run / "split.csv").read_text()
    kept = next(run.glob("best-epoch-*.pt"))
    assert call("--evaluation", "--no_report", "--resume", kept, *ARCH).code == 0


def test_the_terminal_shows_what_it_is_asked_to_and_the_log_file_all(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--log_level", "error", "--name", "quiet"))
    assert (outcome.code, outcome.out.strip()) == (0, "")
    text = Path("runs/classify/quiet/log.txt").read_text()
    assert "epoch 2/2" in text
    assert "done: best val top1" in text


def test_numbers_that_were_found_make_no_other_run(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate that follows the batch of --batch auto."""
    monkeypatch.setattr(
        train, "with_batch_size", lambda parts: replace(parts, config=parts.config.override({"batch_size": 8, "batch": None}))
    )
    flags = ("--data", colors, *ARCH, "--image_size", 16, 16, "--epochs", 1, "-j", 0, "--aug", "none")
    command = (*flags, "--batch", "auto", "--recipe", "toolbox", "--resume", "auto")
    first = call(*command)
    assert first.code == 0, first.err
    again = call(*command)
    assert "the newest of 1" in again.out, again.out
