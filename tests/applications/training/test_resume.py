"""A run that was stopped anywhere and resumed equals the run that never stopped, bit for bit on the CPU."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.applications.conftest import NETS, Call, read_rows, start, tiny, write_colors
from utils.checkpoint import load_checkpoint

HARD = ("--epochs", 3, "-b", 8, "--aug", "flip|crop|color|erase", "--mixup", "--ema", "--accumulate", 2, "--clip_grad", 1)
HARD += ("--cutmix", "--mix_off_epochs", 1, "--multi_scale", "--size_schedule", "12:0.4", "--sampler", "balanced", "--epoch_size", 205)
ARCH = ("--arch", f"{NETS}:TinyNet")


def same(one: Any, two: Any) -> bool:
    """Compare nested checkpoints bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def assert_equal_runs(one: Path, two: Path) -> None:
    first, second = load_checkpoint(one / "last.pt"), load_checkpoint(two / "last.pt")
    for key in ("state_dict", "state_dict_ema", "stepper", "progress", "loss_state", "temperature"):
        assert same(first[key], second[key]), key
    curves = [
        [{key: row[key] for key in row if key.startswith(("epoch", "lr", "train", "val"))} for row in read_rows(run / "metrics.csv")]
        for run in (one, two)
    ]
    assert curves[0] == curves[1], "the curves have the same points, none doubled, none missing"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colors(tmp_path_factory.mktemp("resume"), {"train": 71, "val": 3})


@pytest.fixture(scope="module")
def unbroken(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of the hard recipe, read by two worker processes."""
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(*tiny(data, *HARD, "-j", 2, "--name", "whole"), folder=folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return folder / "runs/classify/whole"


def wait_for(run: Path, batch: int, process: Any) -> None:
    """Wait until the run has saved a checkpoint in the middle of an epoch, at `batch` or later."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (run / "last.pt").is_file():
            progress = load_checkpoint(run / "last.pt")["progress"]
            if progress["epoch"] >= 1 and progress["batch"] >= batch:
                return
        time.sleep(0.01)
    raise AssertionError("no checkpoint was written in time")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_resumes_to_equal_weights(data: Path, unbroken: Path, tmp_path: Path, workers: int) -> None:
    process = start(*tiny(data, *HARD, "-j", workers, "--save_minutes", 1e-6, "--name", "broken"), folder=tmp_path)
    broken = tmp_path / "runs/classify/broken"
    wait_for(broken, 5, process)
    process.kill()
    process.communicate()
    saved = load_checkpoint(broken / "last.pt")["progress"]
    assert saved["step"] < load_checkpoint(unbroken / "last.pt")["progress"]["step"], "the kill came too late to prove anything"
    again = start("--resume", broken, *ARCH, "-j", workers, "--save_minutes", 10, folder=tmp_path)
    out, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert "resumed" in out
    assert_equal_runs(unbroken, broken)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_saves_and_ends_with_its_code(data: Path, unbroken: Path, tmp_path: Path, number: int, code: int) -> None:
    process = start(*tiny(data, *HARD, "--save_minutes", 1e-6, "--name", "broken"), folder=tmp_path)
    broken = tmp_path / "runs/classify/broken"
    wait_for(broken, 1, process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"--resume {Path('runs/classify/broken')}" in out
    again = start("--resume", broken / "last.pt", *ARCH, folder=tmp_path)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert_equal_runs(unbroken, broken)


def test_more_epochs_continue_the_same_curves(call: Call, colors: Path) -> None:
    run = call(*tiny(colors)).run
    outcome = call("--resume", run, *ARCH, "--epochs", 4)
    assert outcome.code == 0, outcome.err
    assert "changed on resume: --epochs 2 -> 4" in outcome.out
    assert [row["epoch"] for row in read_rows(run / "metrics.csv")] == ["1", "2", "3", "4"]


def test_a_finished_run_says_so(call: Call, colors: Path) -> None:
    run = call(*tiny(colors)).run
    outcome = call("--resume", run, *ARCH)
    assert outcome.code == 0
    assert "larger --epochs" in outcome.out


def test_another_architecture_or_other_classes_are_refused(call: Call, colors: Path, tmp_path: Path) -> None:
    run = call(*tiny(colors)).run
    assert "holds" in call("--resume", run, "--arch", "resnet18").err
    assert "name it too" in call("--resume", run).err, "code of the user's own is imported only when the command line names it"
    other = write_colors(tmp_path / "other", {"train": 5, "val": 2})
    (other / "train" / "red").rename(other / "train" / "rose")
    (other / "val" / "red").rename(other / "val" / "rose")
    outcome = call("--resume", run, *ARCH, "--data", other, "--epochs", 3)
    assert outcome.code == 2
    assert f"other classes than {other} has (it lacks red; it adds rose); start a new run" in outcome.err


def test_a_run_whose_images_changed_warns(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 6, "val": 2})
    run = call(*tiny(data)).run
    (data / "train" / "red" / "0.png").unlink()
    outcome = call("--resume", run, *ARCH, "--epochs", 3)
    assert outcome.code == 0, outcome.err
    assert "training images changed" in outcome.out


def test_settings_that_count_the_position_cannot_change_inside_an_epoch(call: Call, colors: Path) -> None:
    run = call(*tiny(colors)).run
    content = load_checkpoint(run / "last.pt")
    content["epoch"] = content["progress"]["epoch"] = 1
    content["progress"]["batch"] = 2
    torch.save(content, run / "last.pt")
    outcome = call("--resume", run, *ARCH, "-b", 20)
    assert outcome.code == 2
    assert "--batch_size cannot change inside an epoch" in outcome.err


def test_a_run_that_goes_on_with_larger_batches_keeps_its_place_in_the_schedule(call: Call, colors: Path) -> None:
    flags = ("--opt", "sgd", "--lr", 0.1, "--schedule", "linear")
    run = call(*tiny(colors, *flags)).run
    outcome = call("--resume", run, *ARCH, "--epochs", 4, "-b", 20)
    assert outcome.code == 0, outcome.err
    assert "goes on at step 6, not 12" in outcome.out
    rates = [float(row["lr"]) for row in read_rows(run / "metrics.csv")]
    # The rate of an epoch is that of its last step: three steps an epoch of twelve in all.
    assert rates[2:] == pytest.approx([0.1 * (1 - 8 / 12), 0.1 * (1 - 11 / 12)])


def test_code_named_by_the_checkpoint_alone_is_not_imported(call: Call, colors: Path, tmp_path: Path) -> None:
    (tmp_path / "mine_alone.py").write_text(
        "import torch\n\n\ndef build(groups, *, lr, momentum):\n    return torch.optim.SGD(groups, lr=lr, momentum=momentum)\n"
    )
    own = "mine_alone.py:build"
    run = call(*tiny(colors, "--opt", own)).run
    outcome = call("--resume", run, *ARCH, "--epochs", 3)
    assert outcome.code == 2
    assert f"--opt '{own}'" in outcome.err
    assert call("--resume", run, *ARCH, "--epochs", 3, "--opt", own).code == 0


def test_settings_of_the_loss_are_no_state_of_it(call: Call, colors: Path) -> None:
    """They come from the command line, so that a change on resume is one."""
    run = call(*tiny(colors, "--logit_adjust", 1, "--criterion", "softmax|class_weights(effective)|ghm")).run
    assert {name.rpartition(".")[2] for name in load_checkpoint(run / "last.pt")["loss_state"]} == {"bin_counts", "counted"}


@pytest.mark.parametrize(
    ("first", "later", "said"), [(("--curriculum", "selfpaced"), ("--mixup",), "--curriculum"), ((), ("--jsd", 12), "--aug_splits")]
)
def test_settings_that_cannot_work_together_are_refused_on_resume_too(call: Call, colors: Path, first, later, said: str) -> None:
    run = call(*tiny(colors, *first, "--epochs", 1)).run
    outcome = call("--resume", run, *ARCH, "--epochs", 2, *later)
    assert outcome.code == 2
    assert said in outcome.err


def test_numbers_of_the_weights_cannot_change_on_resume(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    outcome = call("--resume", run, *ARCH, "--mean_std", "numbers.json", "--epochs", 2)
    assert outcome.code == 2
    assert "--mean_std" in outcome.err


def test_an_epoch_that_only_lacked_its_validation_has_no_speed(call: Call, colors: Path) -> None:
    run = call(*tiny(colors)).run
    content = load_checkpoint(run / "last.pt")
    content["epoch"] = content["progress"]["epoch"] = 1
    content["progress"]["batch"], content["progress"]["samples"] = 6, 60
    torch.save(content, run / "last.pt")
    outcome = call("--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    assert [bool(row["images_per_second"]) for row in read_rows(run / "metrics.csv")] == [True, False]


@pytest.mark.parametrize(("name", "value"), [("logdir", "elsewhere"), ("name", "other")])
def test_a_run_goes_on_where_it_lies(call: Call, colors: Path, tmp_path: Path, name: str, value: str) -> None:
    run = call(*tiny(colors, "--name", "own")).run
    flags = (*ARCH, "--epochs", 3)
    outcome = call("--resume", run, *flags, f"--{name}", value)
    assert outcome.code == 2
    assert f"--{name} {value} has no effect: the run goes on in {run}" in outcome.err
    assert call("--resume", run, *flags, "--logdir", "runs", "--name", "own").code == 0, "its own place may be said again"
    lone = tmp_path / "lone.pt"
    lone.write_bytes((run / "last.pt").read_bytes())
    moved = call("--resume", lone, *flags, "--epochs", 4, f"--{name}", value)
    assert value in moved.run.parts, "a checkpoint outside of a run begins a folder"


def test_a_run_whose_time_is_always_up_comes_to_its_end(call: Call, colors: Path) -> None:
    flags = tiny(colors, "-b", 30)
    whole = call(*flags, "--name", "whole").run
    part = call(*flags, "--name", "part", "--max_minutes", 1e-9)
    assert "stopped by --max_minutes" in part.out
    positions = [position(part.run)]
    # Never twice at one place.
    while positions[-1][0] < 2:
        again = call("--resume", part.run, *ARCH, "--max_minutes", 1e-9)
        assert again.code == 0, again.err
        positions.append(position(part.run))
        assert positions[-1] > positions[-2]
    assert_equal_runs(whole, part.run)


def position(run: Path) -> tuple[int, int]:
    """Return the epochs and steps that a run has behind it."""
    content = load_checkpoint(run / "last.pt")
    return content["epoch"], content["progress"]["step"]


def test_the_long_warm_up_of_an_earlier_version_is_cut_to_half_of_a_short_run_as_it_was_then(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--warmup", 1)).run
    content = load_checkpoint(run / "last.pt")
    content["epoch"] = content["progress"]["epoch"] = 1
    content["config"]["warmup"] = 3.0
    chosen = {**content, "config": dict(content["config"])}
    # Which versions that cut it did not know.
    del content["config"]["warmup_lr"]
    torch.save(content, run / "last.pt")
    outcome = call("--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(run / "last.pt")["config"]["warmup"] == 1
    for source, flags in ((content, ("--warmup", 3)), (chosen, ())):
        torch.save(source, run / "last.pt")
        outcome = call("--resume", run, *ARCH, *flags)
        assert outcome.code == 2
        assert "--warmup 3, and there are 2 epochs" in outcome.err
