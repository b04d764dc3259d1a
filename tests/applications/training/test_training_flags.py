"""Training craft through main.py: optimizers, groups, clipping, sharpness, schedules."""

from pathlib import Path

import pytest
import torch

from tests.applications.conftest import NETS, Call, read_rows, tiny
from tests.applications.training.test_resume import assert_equal_runs
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def weights(run: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return load_checkpoint(run / name)["state_dict"]


RECIPES = {
    "sam": ("--sam", "--opt", "sgd", "--mixup", "--ghm_loss"),
    "groups": ("--opt", "muon", "--head_lr", 0.05, "--layer_decay", 0.8, "--opt_args", "nesterov=True"),
    "agc": ("--clip_grad", 0.1, "--clip_mode", "agc", "--opt", "lamb", "--accumulate", 2),
    "plateau": ("--schedule", "plateau(metric=top1,patience=0,factor=0.5)", "--opt", "ranger", "--ema"),
    "sparsity": ("--sparsity", "--slim", 0.01, "--schedule", "cosine(cycles=2)", "--opt", "adan"),
    "freeze": ("--freeze", 1, "--opt", "LookaheadSGD"),
    "noise": ("--lr_noise", 0.5, "--cooldown", 1, "--warmup", 1, "--warmup_lr", 0.001, "--schedule", "cosine(floor=0.2)"),
    "curvature": ("--opt", "lookahead(adahessian)", "--opt_args", "every=2,k=3", "--accumulate", 2, "--clip_grad", 1),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns_and_resumes_bit_for_bit(call: Call, colors: Path, recipe: str) -> None:
    flags = tiny(colors, *RECIPES[recipe], "--epochs", 4)
    whole = call(*flags)
    assert whole.code == 0, whole.err
    losses = [float(row["train_loss"]) for row in read_rows(whole.run / "metrics.csv")]
    assert losses[-1] < losses[0]
    part = call(*flags, "--max_minutes", 1e-9, "--name", "part")
    assert part.code == 0, part.err
    assert "--max_minutes" in part.out
    assert load_checkpoint(part.run / "last.pt")["progress"]["step"] < load_checkpoint(whole.run / "last.pt")["progress"]["step"]
    again = call("--resume", part.run, *ARCH, "--max_minutes", 100)
    assert again.code == 0, again.err
    assert_equal_runs(whole.run, part.run)


def test_skipped_branches_follow_from_the_position_and_resume_bit_for_bit(call: Call, colors: Path) -> None:
    flags = tiny(colors, "--arch", "mobilenetv3_small", "--drop_path", 0.5, "--init", "xavier", "--epochs", 1, "-b", 20)
    whole = call(*flags)
    assert whole.code == 0, whole.err
    assert "--init xavier: 54 convolutions and linear layers drawn again" in whole.out
    part = call(*flags, "--max_minutes", 1e-9, "--name", "part")
    assert call("--resume", part.run, "--max_minutes", 100).code == 0
    assert_equal_runs(whole.run, part.run)
    never = call(*flags, "--drop_path", 0)
    assert not torch.equal(weights(never.run)["features.1.block.0.0.weight"], weights(whole.run)["features.1.block.0.0.weight"])


def test_checkpointing_trains_the_same_weights(call: Call, colors: Path) -> None:
    flags = tiny(colors, "--arch", "resnet18", "--drop_rate", 0.2, "--drop_path", 0.2, "--epochs", 1)
    plain, saving = call(*flags), call(*flags, "--checkpointing", "--name", "saving")
    assert (plain.code, saving.code) == (0, 0), plain.err + saving.err
    assert "--checkpointing: 8 blocks are computed again in the backward pass" in saving.out
    found = weights(saving.run)
    assert all(torch.equal(value, found[name]) for name, value in weights(plain.run).items())
    refused = call(*tiny(colors, *ARCH), "--checkpointing")
    assert refused.code == 2
    assert "--checkpointing: this network has no row of blocks" in refused.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--sam",), "--sam cannot; leave one of them out"),
        (("--compile",), "--compile cannot"),
    ],
)
def test_what_cannot_pass_backward_through_a_gradient_is_refused(call: Call, colors: Path, flags: tuple, said: str) -> None:
    outcome = call(*tiny(colors, "--opt", "adahessian", *flags))
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize("metric", ["accuracy", "top5"])
def test_a_plateau_of_a_figure_that_validation_lacks_is_refused_before_the_first_step(call: Call, colors: Path, metric: str) -> None:
    outcome = call(*tiny(colors, "--schedule", f"plateau(metric={metric})"))
    assert outcome.code == 2
    assert f"validation has no figure '{metric}'" in outcome.err
    assert "It has loss, top1" in outcome.err
    assert not Path("runs").exists(), "nothing was begun"


@pytest.mark.parametrize("source", [("--pretrained",), ("--init_from", "x.pt")])
def test_weights_start_from_one_place(call: Call, colors: Path, source: tuple) -> None:
    outcome = call(*tiny(colors, "--init", "xavier", *source))
    assert outcome.code == 2
    assert f"--init and {source[0]} both" in outcome.err


def test_sharpness_aware_steps_differ_from_plain_ones(call: Call, colors: Path) -> None:
    plain, sharp = (weights(call(*tiny(colors, "--opt", "sgd", "--epochs", 1, *more)).run) for more in ((), ("--sam", 0.5)))
    assert not torch.allclose(plain["net.head.weight"], sharp["net.head.weight"])
    # Every batch is counted once.
    assert torch.equal(plain["net.features.1.num_batches_tracked"], sharp["net.features.1.num_batches_tracked"])


def test_the_second_look_at_a_batch_leaves_the_counts_of_the_loss_alone(call: Call, colors: Path) -> None:
    flags = ("--criterion", "bce|ghm(bins=1)", "--opt", "sgd", "--epochs", 1)
    plain, sharp = (load_checkpoint(call(*tiny(colors, *flags, *more)).run / "last.pt")["loss_state"] for more in ((), ("--sam", 0.5)))
    # With a single bin every batch counts the same, whatever the weights are.
    assert {name: value.tolist() for name, value in plain.items()} == {name: value.tolist() for name, value in sharp.items()}


def test_a_frozen_backbone_keeps_its_weights_and_statistics(call: Call, colors: Path) -> None:
    first = call(*tiny(colors)).run
    outcome = call(*tiny(colors, "--init_from", first / "last.pt", "--freeze", "backbone"))
    assert "frozen: backbone" in outcome.out
    before, after = weights(first), weights(outcome.run)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"net.head.weight", "net.head.bias"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--opt", "lyon"), "lion"),
        (("--opt_args", "beta=(0.9,0.95)"), "betas"),
        (("--freeze", "head2"), "--freeze head2"),
        (("--schedule", "multistep(5)"), "schedule longer than the run"),
        (("--schedule", "plateau(metric=top7)"), "top1"),
        (("--sam", 0), "--sam"),
        (("--sam", "--accumulate", 2), "--accumulate"),
        (("--layer_decay", 2), "--layer_decay"),
        (("--sparsity", "--slim", 0), "--slim"),
        (("--clip_grad", 0), "--clip_grad"),
    ],
)
def test_mistakes_are_answered_in_one_line(call: Call, colors: Path, flags: tuple, said: str) -> None:
    outcome = call(*tiny(colors, *flags))
    assert outcome.code == 2, outcome.out
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
