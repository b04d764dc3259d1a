"""SWA and soups at the end of a run: what is written, and that the evaluation uses it."""

from pathlib import Path

import pytest
import torch

from applications.engine.top_epochs import TopEpochs
from tests.applications.conftest import NETS, Call, start, tiny
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


def same(one: dict, two: dict) -> bool:
    return all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize(("name", "flags"), [("swa", ("--swa", 0.5)), ("soup", ("--soup", 3))])
def test_an_average_is_measured_written_and_evaluated(call: Call, colors: Path, name: str, flags: tuple) -> None:
    outcome = call(*tiny(colors, *flags, "--epochs", 4, "--lr", 0.05))
    assert outcome.code == 0, outcome.err
    assert f"{name}.pt" in outcome.out
    content = load_checkpoint(outcome.run / f"{name}.pt")
    assert content["averaging"].startswith({"swa": "SWA of 2 epochs", "soup": "soup of "}[name])
    evaluated = call("--evaluation", "--no_report", "--resume", outcome.run / f"{name}.pt", *ARCH)
    assert f"averaged weights ({content['averaging']})" in evaluated.out
    best = load_checkpoint(outcome.run / "best.pt")
    became_best = "now the best weights" in outcome.out
    assert (best["averaging"] == content["averaging"]) is became_best
    assert best["progress"]["best"] == load_checkpoint(outcome.run / "last.pt")["progress"]["best"]


def test_swa_is_the_mean_of_epoch_ends_with_norms_of_its_own(call: Call, colors: Path) -> None:
    flags = tiny(colors, "--swa", 2, "--epochs", 4)
    ends = [load_checkpoint(call(*flags, "--max_minutes", 100).run / "last.pt")["stepper"]["swa"]]
    content = load_checkpoint(Path("runs/classify") / next(Path("runs/classify").iterdir()).name / "swa.pt")
    mean = ends[0]["mean"]
    assert ends[0]["count"] == 2
    assert torch.equal(content["state_dict_ema"]["net.head.weight"], mean["net.head.weight"])
    assert not torch.equal(content["state_dict_ema"]["net.features.1.running_mean"], mean["net.features.1.running_mean"])


def test_a_run_cut_before_its_average_finishes_it_on_resume(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--swa", "--soup", 2, "--epochs", 4)).run
    first = {name: load_checkpoint(run / f"{name}.pt")["state_dict_ema"] for name in ("swa", "soup")}
    for name in first:
        (run / f"{name}.pt").unlink()
    again = call("--resume", run, *ARCH)
    assert again.code == 0, again.err
    for name, weights in first.items():
        assert same(weights, load_checkpoint(run / f"{name}.pt")["state_dict_ema"])
    assert "complete" in call("--resume", run, *ARCH).out


@pytest.mark.slow
def test_two_processes_agree_on_the_averages(colors: Path, tmp_path: Path) -> None:
    process = start(*tiny(colors, "--swa", 0.5, "--soup", 2, "--nproc", 2, "--name", "two"), folder=tmp_path)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert out.count("SWA of 1 epoch:") == 1
    assert {"swa.pt", "soup.pt"} <= {file.name for file in (tmp_path / "runs/classify/two").iterdir()}


def test_only_the_best_epochs_stay_on_the_disk(tmp_path: Path) -> None:
    top = TopEpochs(tmp_path / "soup", 2)
    for epoch, score in enumerate((0.5, 0.9, 0.7, 0.1), start=1):
        top.offer(epoch, (score, 0.0), {"w": torch.tensor(score)})
    assert top.ranked() == [2, 3]
    assert sorted(file.name for file in (tmp_path / "soup").iterdir()) == ["epoch-0002.pt", "epoch-0003.pt", "index.json"]
    assert float(TopEpochs(tmp_path / "soup", 2).load(3)["w"]) == pytest.approx(0.7)


def test_epochs_that_a_resumption_left_behind_do_not_enter_the_soup(tmp_path: Path) -> None:
    top = TopEpochs(tmp_path / "soup", 3)
    for epoch, score in enumerate((0.5, 0.6, 0.9), start=1):
        top.offer(epoch, (score, 0.0), {"w": torch.tensor(score)})
    again = TopEpochs(tmp_path / "soup", 3)
    again.offer(2, (0.7, 0.0), {"w": torch.tensor(0.7)})
    assert again.ranked() == [2, 1]
    assert sorted(file.name for file in (tmp_path / "soup").glob("*.pt")) == ["epoch-0001.pt", "epoch-0002.pt"]


@pytest.mark.parametrize(
    ("flags", "said"), [(("--swa", 9), "schedule longer than the run"), (("--swa", "--ema"), "one of them"), (("--soup", 0), "--soup")]
)
def test_averages_that_do_not_fit_are_named(call: Call, colors: Path, flags: tuple, said: str) -> None:
    outcome = call(*tiny(colors, *flags))
    assert outcome.code == 2
    assert said in outcome.err
