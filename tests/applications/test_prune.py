"""Slimming: a smaller checkpoint that every other application takes."""

import shlex

import torch

from tests.applications.conftest import NETS, Call, tiny
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def test_a_sparse_run_is_pruned_evaluated_converted_and_fine_tuned(call: Call, colors) -> None:
    run = call(*tiny(colors, "--sparsity", "--slim", 0.05, "--epochs", 4, "--ema", "--logdir", "my runs", "--name", "sparse")).run
    outcome = call("--prune", 0.5, "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    for figure in ("parameters", "multiply-adds", "time an image", "val top1"):
        assert figure in outcome.out
    pruned = run.parent / "sparse-pruned"
    whole, small = (load_checkpoint(folder / "best.pt")["state_dict"] for folder in (run, pruned))
    assert sum(value.numel() for value in small.values()) < 0.7 * sum(value.numel() for value in whole.values())
    for action in ("--evaluation", "--jit"):
        answer = call(action, "--resume", pruned, *ARCH)
        assert answer.code == 0, answer.err
    # As it is printed, typed into a shell.
    line = next(line for line in outcome.out.splitlines() if line.startswith("next: "))
    tuned = call(*shlex.split(line)[shlex.split(line).index("main.py") + 1 :], "--name", "tuned", "--epochs", 3)
    assert tuned.code == 0, tuned.err
    after = load_checkpoint(tuned.run / "last.pt")["state_dict"]
    assert {name: value.shape for name, value in after.items()} == {name: value.shape for name, value in small.items()}
    assert not torch.equal(after["net.head.weight"], small["net.head.weight"])
    more = call("--resume", tuned.run, *ARCH, "--epochs", 4)
    assert more.code == 0, more.err
    assert "--init_from" in call("--resume", pruned, *ARCH, "--epochs", 9).err


def test_mistakes_are_answered_in_one_line(call: Call, colors) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    plain = call(*tiny(colors, "--epochs", 1, net="NoNormNet")).run
    for flags, said in (
        (("--prune", 0, "--resume", run, *ARCH), "--prune 0"),
        (("--prune", 0.5), "--resume"),
        (("--prune", 0.5, "--resume", plain, "--arch", f"{NETS}:NoNormNet"), "no batch norm"),
    ):
        outcome = call(*flags)
        assert outcome.code == 2, outcome.out
        assert said in outcome.err
