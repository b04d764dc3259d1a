"""Training: what a run leaves behind, and what it says of mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from shlex import quote

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from applications.assemble import network
from applications.assemble.network import sort_rows, synchronized
from applications.training import train
from models import build_model
from tests.applications.conftest import NETS, ROOT, Call, read_rows, start, tiny, write_colors
from utils.checkpoint import load_checkpoint


def rows(run: Path) -> list[dict[str, str]]:
    return read_rows(run / "metrics.csv")


def test_a_run_learns_and_leaves_everything_in_its_folder(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--epochs", 6))
    assert outcome.code == 0, outcome.err
    run = outcome.run
    assert run.parent == Path("runs/classify")
    assert {"best.pt", "last.pt", "config.json", "metrics.csv", "log.txt"} <= {file.name for file in run.iterdir()}
    assert list(run.glob("events.out.tfevents.*"))
    history = rows(run)
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4", "5", "6"]
    assert float(history[-1]["val_top1"]) > 0.9
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    assert "best val top1" in (run / "log.txt").read_text()


def test_the_saved_config_gives_the_same_run(call: Call, colors: Path) -> None:
    first = call(*tiny(colors, "--aug", "--mixup", "--seed", 5)).run
    again = call("--config", first / "config.json").run
    one, two = (load_checkpoint(run / "last.pt")["state_dict"] for run in (first, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_seed_gives_another_run(call: Call, colors: Path) -> None:
    one, two = (load_checkpoint(call(*tiny(colors, "--seed", seed)).run / "last.pt")["state_dict"] for seed in (1, 2))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_a_run_folder_is_never_overwritten(call: Call, colors: Path) -> None:
    runs = [call(*tiny(colors, "--epochs", 1, "--name", "mine")).run for _ in range(2)]
    assert [run.name for run in runs] == ["mine", "mine-2"]


def test_a_single_folder_of_classes_is_split_and_the_split_is_kept(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "flat", {"": 20})
    outcome = call(*tiny(data))
    assert outcome.code == 0, outcome.err
    members = read_rows(outcome.run / "split.csv")
    counts = {name: sum(row["split"] == name for row in members) for name in ("train", "val", "test")}
    assert counts == {"train": 42, "val": 9, "test": 9}
    # New images do not move old ones into another split.
    for color in ("red", "green", "blue"):
        shutil.copy(data / color / "0.png", data / color / "000.png")
    evaluated = call("--evaluation", "--no_report", "--resume", outcome.run, "--arch", f"{NETS}:TinyNet")
    assert evaluated.code == 0, evaluated.err
    predictions = read_rows(outcome.run / "evaluation-test" / "predictions.csv")
    looked_at = {str(Path(row["path"]).relative_to(data)) for row in predictions}
    assert looked_at == {row["path"] for row in members if row["split"] == "test"}


def test_patience_ends_a_run_that_no_longer_improves(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--epochs", 30, "--lr", 1e-9, "--patience", 2))
    assert "stopped early" in outcome.out
    assert len(rows(outcome.run)) < 30


def test_unreadable_images_are_named_counted_and_skipped(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    (data / "train" / "red" / "3.png").write_text("no image")
    outcome = call(*tiny(data))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("skipped") == 1
    assert "red/3.png" in outcome.out
    assert "1 unreadable" in outcome.out
    strict = call(*tiny(data, "--strict"))
    assert strict.code == 2
    assert "red/3.png" in strict.err


def spoil(file: Path) -> None:
    """Replace a PNG file by a whole image of a kind that nobody can show: 32-bit values."""
    Image.fromarray(np.full((20, 24), 70_000, np.int32)).save(file, "TIFF")


@pytest.mark.parametrize("flags", [("-j", 1), ("--nproc", 2), ("--cache", "ram")], ids=str)
def test_training_validates_on_the_images_that_can_be_read_and_says_so_in_every_row(
    call: Call, tmp_path: Path, flags: tuple[object, ...]
) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    mended = write_colors(tmp_path / "mended", {"train": 10, "val": 4})
    spoil(data / "val" / "red" / "3.png")
    (data / "val" / "green" / "0.png").write_bytes(b"")
    for path in ("val/red/3.png", "val/green/0.png"):
        (mended / path).unlink()
    if "--nproc" in flags:
        process = start(*tiny(data, *flags, "--name", "one"), folder=tmp_path)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    else:
        outcome = call(*tiny(data, *flags, "--name", "one"))
        assert outcome.code == 0, outcome.err
        out = outcome.out
    before = out[: out.index("epoch 1/2")]
    assert "val/red/3.png: 32-bit pixels" in before
    assert "val/green/0.png: the file is empty" in before
    assert "2 of 12 val images unreadable: validation goes on without them" in before
    lines = [line for line in out.splitlines() if line.startswith("epoch ") and "val_top1" in line]
    assert len(lines) == 2
    assert all("(2 val images unreadable)" in line for line in lines)
    assert "2 of 12 val images unreadable" in out[out.index("done: ") :]
    run = tmp_path / "runs" / "classify" / "one"
    assert "2 val images unreadable" in (run / "log.txt").read_text()
    whole = call(*tiny(mended))
    for row, other in zip(rows(run), rows(whole.run), strict=True):
        assert (row["val_unreadable"], other["val_unreadable"]) == ("2", "0")
        if "--nproc" not in flags:
            # The figures are those of the images that are left.
            assert (row["val_top1"], row["val_loss"]) == (other["val_top1"], other["val_loss"])


def test_strict_stops_at_an_unreadable_validation_image_before_the_first_step(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    spoil(data / "val" / "red" / "3.png")
    (data / "val" / "red" / "gone.png").symlink_to("nowhere.png")
    outcome = call(*tiny(data, "--strict"))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: cannot read 2 val images, such as {data}/val/red/3.png: 32-bit pixels")
    assert not (tmp_path / "runs").exists()


def test_validation_without_a_single_readable_image_is_an_error_before_the_first_step(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 1})
    for file in (data / "val").rglob("*.png"):
        file.write_text("no image")
    outcome = call(*tiny(data))
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: cannot read 3 val images, such as {data}/val/blue/0.png")
    assert not (tmp_path / "runs").exists()


def test_a_validation_image_that_breaks_on_the_way_costs_no_epoch(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_colors(tmp_path / "data", {"train": 10, "val": 4})
    # Too little time for the look before training.
    monkeypatch.setattr(train, "GLANCE", 0.0)
    spoil(data / "val" / "red" / "3.png")
    outcome = call(*tiny(data))
    assert outcome.code == 0, outcome.err
    assert [row["val_unreadable"] for row in rows(outcome.run)] == ["1", "1"]
    assert outcome.out.count("cannot read") == 1


def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_last_good_checkpoint(call: Call, colors: Path) -> None:
    good = call(*tiny(colors, "--epochs", 1, "--opt", "sgd")).run
    before = (good / "last.pt").read_bytes()
    outcome = call("--resume", good, "--arch", f"{NETS}:TinyNet", "--epochs", 2, "--lr", 1e38)
    assert outcome.code == 2
    assert "not finite at step" in outcome.err
    assert (good / "last.pt").read_bytes() == before


def mistake(call: Call, *argv: object) -> str:
    outcome = call(*argv)
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert not Path("runs").exists(), "a mistake leaves no run folder behind"
    return outcome.err


def test_mistakes_in_data_and_model_are_answered_in_one_line(call: Call, colors: Path, tmp_path: Path) -> None:
    assert "--data nowhere" in mistake(call, *tiny("nowhere"))
    assert "vit_b_16 does not take images of 16 x 16" in mistake(call, *tiny(colors), "--arch", "torchvision/vit_b_16")
    assert "3 classes" in mistake(call, *tiny(colors, "--num_classes", 4))
    assert "resnet18" in mistake(call, *tiny(colors), "--arch", "resnet81")
    assert "adam" in mistake(call, *tiny(colors), "--opt", "adma")
    data = write_colors(tmp_path / "data", {"train": 4, "val": 2})
    (data / "train" / "yellow").mkdir()
    assert "yellow" in mistake(call, *tiny(data))
    (data / "train" / "yellow").rmdir()
    (data / "val" / "red").rename(data / "val" / "pink")
    assert "pink" in mistake(call, *tiny(data))


def test_a_run_folder_that_cannot_be_written_is_named(call: Call, colors: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = call(*tiny(colors, "--logdir", tmp_path / "file"))
    assert outcome.code == 2
    assert "--logdir" in outcome.err


def test_init_from_takes_the_weights_alone(call: Call, colors: Path) -> None:
    first = call(*tiny(colors)).run
    outcome = call(*tiny(colors, "--init_from", first / "best.pt", "--lr", 1e-12, "--epochs", 1))
    assert outcome.code == 0, outcome.err
    one, two = (load_checkpoint(run / name)["state_dict"] for run, name in ((first, "best.pt"), (outcome.run, "last.pt")))
    weights = [name for name in one if name.endswith("weight")]
    assert weights
    for name in weights:
        torch.testing.assert_close(one[name], two[name])
    assert json.loads((outcome.run / "config.json").read_text())["epochs"] == 1


@pytest.mark.parametrize("criterion", ["softmax", "bce"])
def test_both_criterions_train(call: Call, colors: Path, criterion: str) -> None:
    outcome = call(*tiny(colors, "--criterion", criterion, "--label_smoothing", 0.1, "--epochs", 5))
    assert float(rows(outcome.run)[-1]["val_top1"]) > 0.8


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_good_checkpoint(colors: Path, tmp_path: Path) -> None:
    """A limit on the size of a file stands for the disk; the first epoch fits below it, the larger state of the second does not."""
    flags = map(str, tiny(colors, "--name", "full"))
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
import main
assert main.main({list(flags)!r} + ["--epochs", "1"]) == 0
size = __import__("os").path.getsize("runs/classify/full/last.pt")
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size))
sys.exit(main.main(["--resume", "runs/classify/full", "--arch", {f"{NETS}:TinyNet"!r}, "--epochs", "2"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: cannot write")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("last.pt, saved before, is whole; go on from it with: python main.py --resume runs/classify/full\n")
    run = tmp_path / "runs/classify/full"
    assert load_checkpoint(run / "last.pt")["epoch"] == 1
    assert not list(run.glob(".*")), "no half-written file is left"


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_kept(call: Call, colors: Path) -> None:
    """Their loss was still finite: validation is the first to see them."""
    flags = ("--opt", "sgd", "-b", 60, "--schedule", "steps", "--lr_ratios", 1, 1e38, "--lr_steps", 1, 3)
    outcome = call(*tiny(colors, *flags, "--epochs", 3, "--name", "broken", net="NoNormNet"))
    assert outcome.code == 2
    assert "not finite" in outcome.err
    for name in ("last.pt", "best.pt"):
        assert load_checkpoint(Path("runs/classify/broken") / name)["epoch"] == 1
    assert [row["epoch"] for row in rows(Path("runs/classify/broken"))] == ["1"]


def test_two_processes_never_train_in_one_folder(call: Call, colors: Path, tmp_path: Path) -> None:
    process = start(*tiny(colors, "--epochs", 5000, "--name", "twin"), folder=tmp_path)
    run = tmp_path / "runs/classify/twin"
    deadline = time.monotonic() + 60
    while not (run / "last.pt").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    outcome = call("--resume", run, "--arch", f"{NETS}:TinyNet")
    process.kill()
    process.communicate()
    assert outcome.code == 2
    assert "another process is training" in outcome.err


CHANGES = [
    ("--clip_grad", 1e-3),
    ("--weight_decay", 30),
    ("--momentum", 0.5),
    ("--label_smoothing", 0.4),
    ("--precision", "bf16"),
    ("--accumulate", 2),
    ("--warmup", 1),
    ("--bn_images", 0),
    ("--criterion", "bce"),
    ("--opt", "radam"),
    ("--schedule", "linear"),
    ("--aug",),
    ("--mixup",),
    ("--resize", "stretch"),
    ("--drop_rate", 0.9),
    ("--drop_path", 0.5),
    ("--init", "xavier"),
    ("--lr_noise", 0.5),
]


@pytest.fixture(scope="module")
def plain_weights() -> dict[str, torch.Tensor]:
    """Hold the weights of the run without further flags, made by the first test that needs them."""
    return {}


@pytest.mark.parametrize("flags", CHANGES, ids=lambda flags: flags[0])
def test_every_training_flag_reaches_the_weights(call: Call, colors: Path, plain_weights: dict[str, torch.Tensor], flags: tuple) -> None:
    small = ("--arch", "mobilenetv3_small", "--image_size", 32, 32, "-b", 20, "--seed", 3)

    def weights(*more: object) -> dict[str, torch.Tensor]:
        outcome = call(*tiny(colors, *small, *more))
        assert outcome.code == 0, outcome.err
        return load_checkpoint(outcome.run / "last.pt")["state_dict"]

    if not plain_weights:
        plain_weights.update(weights())
    changed = weights(*flags)
    assert any(not torch.equal(plain_weights[name], changed[name]) for name in changed)


def test_the_momentum_matters_where_statistics_are_not_counted_anew(call: Call, colors: Path) -> None:
    one, two = (
        load_checkpoint(call(*tiny(colors, "--bn_images", 0, "--bn_momentum", momentum)).run / "last.pt")["state_dict"]
        for momentum in ("published", 0.9)
    )
    changed = [name for name in one if not torch.equal(one[name], two[name])]
    assert changed
    assert all("running" in name for name in changed)


def test_accumulation_does_not_shorten_the_schedule(call: Call, colors: Path) -> None:
    ends = [float(rows(call(*tiny(colors, "--epochs", 4, *more)).run)[-1]["lr"]) for more in ((), ("--accumulate", 3))]
    assert all(rate < 0.004 for rate in ends), "a cosine ends near zero however many batches a step has"


def test_compile_is_asked_for_once(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(network, "compile_training", calls.append)
    assert call(*tiny(colors, "--epochs", 1, "--compile")).code == 0
    assert len(calls) == 1
    assert call(*tiny(colors, "--epochs", 1)).code == 0
    assert len(calls) == 1


def test_names_that_are_no_utf8_are_read_and_reported(call: Call, tmp_path: Path) -> None:
    data = write_colors(tmp_path / "data", {"train": 6, "val": 2, "test": 2})
    for split in ("train", "test"):
        odd = os.fsdecode(b"caf\xe9.png")
        (data / split / "red" / "0.png").rename(data / split / "red" / odd)
    run = call(*tiny(data)).run
    assert call("--evaluation", "--no_report", "--resume", run, "--arch", f"{NETS}:TinyNet").code == 0
    assert b"caf\xe9.png" in (run / "evaluation-test" / "predictions.csv").read_bytes()


@pytest.mark.parametrize("arch", ["timm/efficientnet_b0", "timm/resnet18", "mobilenetv3_small"])
def test_synchronized_norms_compute_what_the_plain_ones_do(arch: str) -> None:
    model = build_model(arch, num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(images)
        synced = synchronized(model).eval()
        torch.testing.assert_close(synced(images), before)
    assert any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in synced.modules())


def test_a_loaded_classifier_follows_the_names_of_the_classes() -> None:
    head = nn.Linear(2, 3)
    fresh = {name: value.clone() for name, value in head.state_dict().items()}
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    line = sort_rows(head, fresh, known=("cat", "dog", "owl"), wanted=("ant", "cat", "owl"))
    assert head.weight[1:].tolist() == [[1.0, 1.0], [3.0, 3.0]]
    assert torch.equal(head.weight[0], fresh["weight"][0])
    assert "ant begins anew" in line


def test_a_training_cut_by_head_saves_and_says_how_to_go_on(colors: Path, tmp_path: Path) -> None:
    flags = " ".join(quote(str(flag)) for flag in tiny(colors, "--epochs", 5000, "--name", "cut"))
    code = f"set -o pipefail; {quote(sys.executable)} {quote(str(ROOT / 'main.py'))} {flags} | head -8"
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    # 128 and the number of a pipe that nobody reads.
    assert done.returncode == 141, done.stderr
    assert done.stderr.startswith("the output is no longer read (closed pipe): stopped after a save; go on with: python main.py --resume ")
    assert done.stderr.count("\n") == 1
    run = tmp_path / "runs" / "classify" / "cut"
    assert load_checkpoint(run / "last.pt")["progress"]["step"] > 0
    assert "stopped after a save" in (run / "log.txt").read_text()


@pytest.mark.parametrize("saved", [False, True])
def test_a_second_interrupt_says_what_is_left(colors: Path, tmp_path: Path, saved: bool) -> None:
    """The net sleeps in a step, so that the second signal comes before the loop has looked at the first."""
    net = tmp_path / "slow_net.py"
    pause = 'bool(list(__import__("pathlib").Path.cwd().glob("runs/classify/slow/last.pt")))' if saved else "True"
    net.write_text(
        f"import sys, time\nsys.path.insert(0, {str(NETS.parent.parent.parent)!r})\nfrom tests.applications.tiny_net import TinyNet\n"
        "class SlowNet(TinyNet):\n    def forward(self, x):\n"
        f"        if self.training and {pause}:\n            open('asleep', 'w').close()\n            time.sleep(60)\n"
        "        return super().forward(x)\n"
    )
    flags = [f"{net}:SlowNet" if str(flag).endswith(":TinyNet") else flag for flag in tiny(colors, "--name", "slow")]
    process = start(*flags, folder=tmp_path)
    deadline = time.monotonic() + 120
    while not (tmp_path / "asleep").is_file():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        # Two signals that come together count as one.
        time.sleep(1.5)
    _, errors = process.communicate(timeout=60)
    run = Path("runs/classify/slow")
    assert process.returncode == 130
    heard, _, errors = errors.partition("\n")
    assert heard == "stopping after this step; press Ctrl-C again to stop without saving"
    if saved:
        assert errors == f"interrupted without another save; go on from the last one with: python main.py --resume {run}\n"
    else:
        assert errors == f"interrupted before anything was saved; {run} is removed\n"
    assert (tmp_path / run).exists() == saved
