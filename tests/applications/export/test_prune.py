"""Slimming: a smaller checkpoint that every other application takes."""

import json
import shlex
from pathlib import Path

import pytest
import torch

from applications.settings.options import RunConfig
from models.slimming.prune import Losses
from tests.applications.conftest import NETS, Call, tiny
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def fine_tuning(said: str) -> list[str]:
    """Return the command that --prune prints, as it would be typed into a shell."""
    words = shlex.split(next(line for line in said.splitlines() if line.startswith("next: ")))
    return words[words.index("main.py") + 1 :]


def test_a_sparse_run_is_pruned_evaluated_converted_and_fine_tuned(call: Call, colors) -> None:
    run = call(*tiny(colors, "--sparsity", "--slim", 0.05, "--epochs", 4, "--ema", "--logdir", "my runs", "--name", "sparse")).run
    outcome = call("--prune", 0.5, "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    rows = {line.split("  ")[0].strip(): line.split() for line in outcome.out.splitlines() if line}
    for figure in ("channels", "multiply-adds (M)", "parameters (M)", "time an image (ms)", "val top1 (%)"):
        assert figure in rows
    # The share that was asked for, by the count that is printed.
    before, after = (float(value) for value in rows["multiply-adds (M)"][2:4])
    assert 0.3 < after / before <= 0.5
    assert int(rows["channels"][2]) < int(rows["channels"][1])
    pruned = run.parent / "sparse-pruned"
    whole, small = (load_checkpoint(folder / "best.pt")["state_dict"] for folder in (run, pruned))
    assert sum(value.numel() for value in small.values()) < 0.7 * sum(value.numel() for value in whole.values())
    for action in ("--evaluation", "--jit"):
        answer = call(action, "--resume", pruned, *ARCH)
        assert answer.code == 0, answer.err
    tuned = call(*fine_tuning(outcome.out), "--name", "tuned", "--epochs", 3)
    assert tuned.code == 0, tuned.err
    after = load_checkpoint(tuned.run / "last.pt")["state_dict"]
    assert {name: value.shape for name, value in after.items()} == {name: value.shape for name, value in small.items()}
    assert not torch.equal(after["net.head.weight"], small["net.head.weight"])
    more = call("--resume", tuned.run, *ARCH, "--epochs", 4)
    assert more.code == 0, more.err
    assert "--init_from" in call("--resume", pruned, *ARCH, "--epochs", 9).err


def test_fine_tuning_moves_what_the_run_had_frozen(call: Call, colors) -> None:
    first = call(*tiny(colors, "--epochs", 1)).run
    run = call(*tiny(colors, "--epochs", 1, "--init_from", first / "best.pt", "--freeze", "backbone")).run
    outcome = call("--prune", 0.3, "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    command = fine_tuning(outcome.out)
    assert not json.loads(Path(command[command.index("--config") + 1]).read_text())["freeze"]
    tuned = call(*command, "--name", "tuned", "--epochs", 1)
    assert tuned.code == 0, tuned.err
    small, after = (load_checkpoint(folder / "best.pt")["state_dict"] for folder in (run.parent / f"{run.name}-pruned", tuned.run))
    weights = [name for name in small if name.endswith("weight")]
    assert weights
    assert not any(torch.equal(small[name], after[name]) for name in weights)


@pytest.mark.parametrize("word", [["--no_freeze"], ["--freeze", "none"]])
def test_a_flag_unfreezes_what_a_config_file_freezes(call: Call, colors, tmp_path: Path, word: list[str]) -> None:
    file = tmp_path / "frozen.json"
    file.write_text(json.dumps({"freeze": ["backbone"]}))
    run = call(*tiny(colors, "--epochs", 1), "--config", file, *word).run
    assert json.loads((run / "config.json").read_text())["freeze"] == []
    assert RunConfig.from_dict({"freeze": "none"}).optim.freeze == ()


def test_a_large_loss_of_accuracy_is_warned_of_and_none_is_not(call: Call, colors, monkeypatch: pytest.MonkeyPatch) -> None:
    run = call(*tiny(colors, "--epochs", 6, "--lr", 0.02)).run
    gentle = call("--prune", 0.05, "--resume", run, *ARCH, "--name", "gentle")
    assert gentle.code == 0, gentle.err
    assert " fell from " not in gentle.err + gentle.out

    def backwards(losses: Losses):
        from models.slimming.prune import taylor_importance

        return lambda groups, kept: [-score for score in taylor_importance(losses)(groups, kept)]

    monkeypatch.setattr("applications.export.prune.taylor_importance", backwards)
    harsh = call("--prune", 0.8, "--resume", run, *ARCH, "--name", "harsh")
    assert harsh.code == 0, harsh.err
    assert "val top1 fell from " in harsh.err + harsh.out


def test_without_training_images_the_missing_split_is_named(call: Call, colors, tmp_path: Path) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    (held_out / "val").symlink_to(colors / "val")
    outcome = call("--prune", 0.5, "--resume", run, *ARCH, "--data", held_out)
    assert outcome.code == 2
    assert "needs training images" in outcome.err


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


def test_norms_are_measured_anew_on_training_images_without_what_is_gone(call: Call, colors, monkeypatch: pytest.MonkeyPatch) -> None:
    run = call(*tiny(colors, "--epochs", 2)).run
    assert call("--prune", 0.4, "--resume", run, *ARCH, "--name", "fresh").code == 0
    monkeypatch.setattr("applications.export.prune.refresh_norms", lambda *_: None)
    assert call("--prune", 0.4, "--resume", run, *ARCH, "--name", "stale").code == 0
    fresh, stale = (load_checkpoint(run.parent / name / "best.pt")["state_dict"] for name in ("fresh", "stale"))
    assert fresh.keys() == stale.keys()
    changed = {name.rpartition(".")[2] for name in fresh if not torch.equal(fresh[name], stale[name])}
    # Statistics and nothing else.
    assert {"running_mean", "running_var"} <= changed <= {"running_mean", "running_var", "num_batches_tracked"}
