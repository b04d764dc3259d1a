"""The flags of losses, from the command line to the weights of a run."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.assemble import count_classes
from dataloader.opening.open_catalog import open_catalog
from tests.applications.conftest import NETS, Call, tiny, write_colors
from utils.checkpoint import load_checkpoint


def write_files(call: Call, data: Path) -> None:
    """Write a template of every kind into the present folder."""
    for kind in ("cost", "threshold", "weights"):
        outcome = call("--data", data, "--write_matrix", f"{kind}.csv", "--matrix_kind", kind)
        assert outcome.code == 0, outcome.err
        assert f"{kind}.csv" in outcome.out


ALL = ["--weighted_loss", "--cost_matrix", "cost.csv", "--threshold_loss", "--threshold_matrix", "threshold.csv"]
ALL += ["--ohm_loss", "--ghm_loss", "--class_weights", "weights.csv", "--prior_bias"]


def test_templates_name_the_classes_and_are_never_overwritten(call: Call, colors: Path) -> None:
    write_files(call, colors)
    assert Path("cost.csv").read_text().splitlines()[0] == "class,blue,green,red"
    outcome = call("--data", colors, "--write_matrix", "cost.csv")
    assert outcome.code == 2
    assert "exists" in outcome.err


def test_the_command_that_is_suggested_for_a_template_trains_with_it(call: Call, colors: Path) -> None:
    for kind, wanted in (("cost", "softmax|risk('cost.csv')"), ("weights", "softmax|class_weights('weights.csv')")):
        said = call("--data", colors, "--write_matrix", f"{kind}.csv", "--matrix_kind", kind).out
        if kind == "cost":
            Path("cost.csv").write_text("class,blue,green,red\nblue,0,1,5\ngreen,1,0,1\nred,1,1,0\n")
        data, *flags = shlex.split(said.partition("python main.py --data ")[2])
        outcome = call(*tiny(data, *flags))
        assert outcome.code == 0, outcome.err
        assert "next to no effect" not in outcome.out
        assert load_checkpoint(outcome.run / "best.pt")["criterion"] == wanted


@pytest.mark.parametrize("criterion", ["softmax", "bce"])
def test_all_switches_together_train_evaluate_and_convert_without_their_files(call: Call, colors: Path, criterion: str) -> None:
    write_files(call, colors)
    outcome = call(*tiny(colors, *ALL, "--criterion", criterion, "--mixup", "--label_smoothing", 0.1))
    assert outcome.code == 0, outcome.err
    content = load_checkpoint(outcome.run / "best.pt")
    weighters = "class_weights('weights.csv')|cost('cost.csv')|threshold('threshold.csv')|ohm(0.7)|ghm"
    assert content["criterion"] == f"{criterion}|{weighters}"
    assert content["loss_state"]["weighters.ghm.bin_counts"].sum() > 0
    for kind in ("cost", "threshold", "weights"):
        Path(f"{kind}.csv").unlink()
    assert call("--evaluation", "--no_report", "--resume", outcome.run, "--arch", f"{NETS}:TinyNet").code == 0
    assert call("--jit", "--resume", outcome.run, "--arch", f"{NETS}:TinyNet").code == 0


def test_a_spec_and_its_switches_give_the_same_run_and_so_does_the_saved_config(call: Call, colors: Path) -> None:
    switches = call(*tiny(colors, "--criterion", "bce", "--ghm_loss", "--ohm_loss", "--hard_ratio", 0.5)).run
    spec = call(*tiny(colors, "--criterion", "bce|ohm(0.5)|ghm(bins=30,momentum=0.75)")).run
    again = call("--config", switches / "config.json").run
    first, *others = (load_checkpoint(run / "last.pt")["state_dict"] for run in (switches, spec, again))
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_the_counts_of_ghm_go_on_after_a_resume(call: Call, colors: Path) -> None:
    short = ["--schedule", "steps", "--lr_ratios", 1, "--lr_steps", 1, "--epochs", 1]
    full = ["--schedule", "steps", "--lr_ratios", 1, 1, "--lr_steps", 1, 3, "--epochs", 3]
    whole = call(*tiny(colors, "--criterion", "bce|ghm", *full)).run
    part = call(*tiny(colors, "--criterion", "bce|ghm", *short)).run
    assert call("--resume", part, "--arch", f"{NETS}:TinyNet", *full).code == 0
    one, two = (load_checkpoint(run / "last.pt") for run in (whole, part))
    assert torch.equal(one["loss_state"]["weighters.ghm.bin_counts"], two["loss_state"]["weighters.ghm.bin_counts"])
    assert all(torch.equal(one["state_dict"][name], two["state_dict"][name]) for name in one["state_dict"])


def test_a_run_may_go_on_with_another_loss(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    outcome = call("--resume", run, "--arch", f"{NETS}:TinyNet", "--epochs", 2, "--ghm_loss", "--hard_ratio", 0.5)
    assert outcome.code == 0, outcome.err
    assert "changed on resume: --ghm_loss False -> True" in outcome.out
    assert load_checkpoint(run / "last.pt")["criterion"] == "softmax|ghm"


def test_the_classifier_starts_at_the_prior(call: Call, colors: Path) -> None:
    flags = ["--prior_bias", 0.02, "--criterion", "bce", "--lr", 1e-12, "--epochs", 1, "--weight_decay", 0]
    run = call(*tiny(colors, *flags)).run
    bias = load_checkpoint(run / "last.pt")["state_dict"]["net.head.bias"]
    torch.testing.assert_close(torch.sigmoid(bias), torch.full((3,), 0.02))


def test_logit_adjustment_and_every_criterion_of_the_long_tail_train(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--criterion", "poly1(eps=2)", "--logit_adjust", "--class_weights", "effective"))
    assert outcome.code == 0, outcome.err
    assert json.loads((outcome.run / "config.json").read_text())["logit_adjust"] == 1.0


def test_mistakes_end_with_2_and_one_line(call: Call, colors: Path) -> None:
    Path("wrong.csv").write_text("class,blue,green,yellow\nblue,1,1,1\ngreen,1,1,1\nyellow,1,1,1\n")
    for flags, said in (
        (["--weighted_loss"], "--cost_matrix"),
        (["--cost_matrix", "wrong.csv"], "--weighted_loss"),
        (["--weighted_loss", "--cost_matrix", "wrong.csv"], "--cost_matrix wrong.csv: its header name 'yellow'"),
        (["--ohm_loss", "--hard_ratio", 0], "--hard_ratio"),
        (["--hard_ratio", 0.5], "--ohm_loss"),
        (["--criterion", "bce", "--logit_adjust"], "--logit_adjust"),
        (["--criterion", "ghm"], "softmax|ghm"),
        (["--class_weights", "none.csv"], "--class_weights none.csv"),
        (["--prior_bias", 2, "--criterion", "bce"], "--prior_bias"),
    ):
        outcome = call(*tiny(colors, *flags))
        assert outcome.code == 2, flags
        assert said in outcome.err
        assert outcome.err.count("\n") == 1
        assert not Path("runs").exists()


def test_a_loss_of_the_user_is_imported_only_when_it_is_named(call: Call, colors: Path) -> None:
    Path("my_own_loss.py").write_text(
        "from criterions.elementwise import Elementwise, softmax_terms\nLOSS = Elementwise('softmax', softmax_terms)\n"
    )
    run = call(*tiny(colors, "--criterion", "my_own_loss.py:LOSS|ghm", "--epochs", 1)).run
    look = ["--evaluation", "--no_report", "--resume", run, "--arch", f"{NETS}:TinyNet"]
    outcome = call(*look)
    assert outcome.code == 2
    assert "--criterion 'my_own_loss.py:LOSS|ghm'" in outcome.err
    assert call(*look, "--criterion", "my_own_loss.py:LOSS|ghm").code == 0


def write_tail(folder: Path) -> Path:
    """Return data of two classes, 40 and 10 training images."""
    data = write_colors(folder / "tail", {"train": 40, "val": 4})
    shutil.rmtree(data / "train" / "green")
    shutil.rmtree(data / "val" / "green")
    for number in range(10, 40):
        (data / "train" / "red" / f"{number}.png").unlink()
    return data


@pytest.mark.parametrize(
    ("sampler", "weights", "expected"),
    [
        ([], None, [40, 10]),
        (["--sampler", "balanced"], None, [25, 25]),
        (["--sampler", "repeat(0.8)"], None, [40 * 50 / 60, 20 * 50 / 60]),
        ([], [0.25, 1.0], [25, 25]),
        (["--sampler", "balanced"], [0.25, 1.0], [10, 40]),
    ],
)
def test_priors_are_those_of_the_images_as_drawn_and_weighed(tmp_path: Path, sampler: list[str], weights: list[float] | None, expected):
    split = open_catalog(str(write_tail(tmp_path))).splits["train"]
    if weights is not None:
        split = replace(split, weights=np.array(weights, dtype=np.float32)[split.targets])
    counts = count_classes(split, 2, sampler=sampler[1] if sampler else None)
    assert counts == pytest.approx(expected)
    dense = replace(split, targets=np.eye(2, dtype=np.float32)[split.targets])
    assert count_classes(dense, 2, sampler=sampler[1] if sampler else None) == pytest.approx(expected)


@pytest.mark.parametrize("flag", [["--logit_adjust"], ["--class_weights", "auto"], ["--prior_bias"]])
def test_a_sampler_that_balances_leaves_nothing_to_correct(call: Call, tmp_path: Path, flag: list[str]) -> None:
    data = write_tail(tmp_path)
    flags = tiny(data, "--sampler", "balanced", "--epochs", 1, "--opt", "sgd")
    corrected, plain = (call(*flags, *more) for more in (flag, [] if flag != ["--prior_bias"] else ["--prior_bias", 0.5]))
    assert "as --sampler draws them: blue 50.0%, red 50.0%" in corrected.out
    first, second = (load_checkpoint(outcome.run / "last.pt")["state_dict"] for outcome in (corrected, plain))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
