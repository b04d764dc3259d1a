"""A sweep from the command line: what it leaves, that it goes on, and that it never looks at test images."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import config
from applications.settings.options import Request
from applications.sweep import sweep
from applications.sweep.halving import Rung
from applications.sweep.results import SweepResults, told_of_seeds, write_results
from applications.sweep.space import parse_space
from applications.sweep.study import check_installed
from dataloader.opening.open_catalog import open_catalog
from utils.environment import ROOT
from utils.errors import UserError

SPACE = "lr=1e-4..1e-2 mixup=on,off"


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="--sweep needs optuna, which is not installed: pip install optuna"):
        check_installed()


def test_values_that_no_training_takes_are_refused_before_anything_begins() -> None:
    with pytest.raises(UserError, match="--sweep lr: --lr must be above 0"):
        sweep.check_space(parse_space("lr=0..1"), {}, (), {})
    with pytest.raises(UserError, match="--sweep ema: --swa and --ema"):
        sweep.check_space(parse_space("ema=off,0.99"), {"swa": 0.75}, (), {})
    with pytest.raises(UserError, match="--sweep schedule: --schedule plateau falls when validation says so"):
        sweep.check_space(parse_space("schedule=cosine,plateau"), {}, (), {"minutes": 9.0})


def test_samplers_that_make_epochs_longer_need_a_length_of_epochs() -> None:
    sweep.check_space(parse_space("sampler=off,balanced"), {}, (), {})
    sweep.check_space(parse_space("sampler=off,repeat(0.01)"), {"epoch_size": 100}, (), {})
    with pytest.raises(UserError, match=r"--sweep sampler: repeat\(0.01\) may make epochs longer; give --epoch_size N beside --sweep"):
        sweep.check_space(parse_space("sampler=off,repeat(0.01)"), {}, (), {})


def test_a_task_without_steps_is_refused() -> None:
    with pytest.raises(UserError, match="--sweep compares trainings by validation, and --task anomaly learns in one look") as caught:
        sweep.run(request("--task", "anomaly"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flags", [["--resume", "x"], ["--max_minutes", "3"]])
def test_flags_of_one_run_are_refused(flags: list[str]) -> None:
    with pytest.raises(UserError, match=f"{flags[0]} is for one run"):
        config.parse(["--sweep", SPACE, *flags])
    with pytest.raises(UserError, match="--nproc belongs to"):
        config.parse(["--sweep", SPACE, "--nproc", "2"])


def read_rows(file: Path) -> list[list[str]]:
    return list(csv.reader(file.read_text(encoding="utf-8").splitlines()))


def request(*flags: str) -> Request:
    return config.parse(["--sweep", SPACE, *flags])


def test_the_same_command_finds_its_folder_and_another_one_does_not(tmp_path: Path) -> None:
    place = ["--logdir", str(tmp_path)]
    first = sweep._folder(request(*place))
    assert sweep._folder(request(*place, "--jobs", "2")) == first
    assert sweep._folder(request(*place, "--trials", "3")) != first
    sweep._folder(request(*place, "--name", "mine"))
    with pytest.raises(UserError, match=r"holds another sweep \(epochs 30 there, 4 here\); choose another --name"):
        sweep._folder(request(*place, "--name", "mine", "--epochs", "4"))


def test_the_best_of_the_last_rung_wins_and_its_figure_is_called_too_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {number: {"lr": 10.0 ** -(number + 1), "mixup": number % 2 == 0} for number in range(4)}
    figures = [{0: (0.9, -1.0), 1: (0.8, -1.0), 2: (0.85, -1.0), 3: None}, {0: (0.91, -1.0), 2: (0.95, -1.0)}]
    results = SweepResults(
        parse_space("lr=1e-4..1e-1 mixup=on,off"), [Rung(4, 1, "epochs"), Rung(2, 3, "epochs")], settings, figures,
        {1: (0.92, -1.0), 2: (0.90, -1.0)},
    )  # fmt: skip
    assert results.order == [2, 0, 1, 3]
    best, again = told_of_seeds(results, "accuracy")
    assert "trial 2: val accuracy 95.00%" in best
    assert "chosen among 4" in best
    assert "mean 91.00%, from 90.00% to 92.00%" in again
    monkeypatch.setattr("applications.sweep.results.draw_scatters", lambda *_, **__: None)
    write_results(results, tmp_path)
    rows = read_rows(tmp_path / "sweep.csv")
    assert rows[0] == ["trial", "lr", "mixup", "val at 1 epochs", "val at 3 epochs"]
    assert rows[1] == ["2", "0.001", "on", "0.85", "0.95"]
    assert rows[4] == ["3", "0.0001", "off", "failed", ""]
    assert rows[5] == ["2 with seed 1", "0.001", "on", "", "0.92"]


def test_seeds_may_share_a_split() -> None:
    def val(*flags: str) -> int:
        return config.parse(["--data", "x", *flags]).config.split_seed

    assert val("--seed", "3") == 3
    assert val("--seed", "3", "--split_seed", "0") == val() == 0


def command(folder: Path, data: Path, *more: str) -> list[str]:
    flags = ["--image_size", "32", "32", "--arch", "mobilenetv3_small", "--device", "cpu", "-j", "0", "--jobs", "1", "--strict"]
    where = ["--data", str(data), "--logdir", str(folder), "--name", "s"]
    return [sys.executable, str(ROOT / "main.py"), "--sweep", SPACE, *where, "--epochs", "3", "--trials", "3", *flags, *more]


def figures(folder: Path) -> list[list[str]]:
    return read_rows(folder / "sweep/s/sweep.csv")


def write_digits(data: Path) -> None:
    """Write some of the digits, with test images that nobody can decode."""
    from PIL import Image

    digits = open_catalog("digits")
    for split, most in (("train", 12), ("val", 6), ("test", 2)):
        source = digits.splits[split]
        for index in range(len(source)):
            folder = data / split / str(source.targets[index])
            folder.mkdir(parents=True, exist_ok=True)
            if len(list(folder.iterdir())) < most:
                Image.fromarray(source.read(index)).save(folder / f"{index}.png")
    for number, file in enumerate(sorted((data / "test").rglob("*.png"))):
        # With --strict whoever decodes one of them fails.
        file.write_bytes(b"no image %d" % number)


def wait_until(happened: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.1)


@contextmanager
def in_trial(number: int, folder: Path, data: Path) -> Iterator[subprocess.Popen]:
    """Start a sweep; yield it when this trial of the first rung trains."""
    with subprocess.Popen(command(folder, data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as begun:
        try:
            wait_until(lambda: list(folder.glob(f"sweep/s/runs/*/trial-{number:03}-rung-0/log.txt")))
            yield begun
        finally:
            begun.kill()


def go_on(folder: Path, data: Path) -> list[list[str]]:
    again = subprocess.run(command(folder, data), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr + again.stdout
    assert "failed" not in again.stdout
    return figures(folder)


@pytest.mark.slow
def test_a_sweep_on_digits_is_stopped_goes_on_and_never_reads_test_images(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_digits(data)
    whole, stopped, killed = (tmp_path / name for name in ("whole", "stopped", "killed"))
    done = subprocess.run(command(whole, data), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "winner's curse" in done.stdout
    assert "mean" in done.stdout

    with in_trial(1, stopped, data) as begun:
        begun.send_signal(signal.SIGINT)
        _, said = begun.communicate(timeout=120)
    assert begun.returncode == 130
    assert "the same command goes on" in said
    assert go_on(stopped, data) == figures(whole)

    with in_trial(1, killed, data) as begun:
        begun.kill()
    with in_trial(2, killed, data) as begun:
        # The trial ends beside a sweep that cannot notice it any more.
        begun.send_signal(signal.SIGSTOP)
        output = killed / "sweep/s/trials/trial-002-rung-0.txt"
        wait_until(lambda: "\nnext: " in output.read_text())
        begun.kill()
    assert go_on(killed, data) == figures(whole)
    assert "is complete after 1 epochs" in output.read_text()

    assert [row[0] for row in figures(whole)[-2:]] == [f"{figures(whole)[1][0]} with seed {seed}" for seed in (1, 2)]
    assert (whole / "sweep/s/sweep.png").read_bytes().startswith(b"\x89PNG")
    best = json.loads((whole / "sweep/s/best.json").read_text())
    assert (best["epochs"], best["split_seed"]) == (3, 0)
    assert not list(whole.rglob("*evaluation*"))
    shutil.rmtree(data)
