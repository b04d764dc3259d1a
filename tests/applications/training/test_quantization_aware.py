"""--quantization_aware through main.py: an ordinary run with rounding in its layers, and an ordinary checkpoint."""

import json
from pathlib import Path

import pytest

from applications.settings.quantization_aware import without_length
from tests.applications.conftest import NETS, Call, run_once, tiny
from tests.applications.training.test_resume import assert_equal_runs, same
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


@pytest.fixture(scope="module")
def plain(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained run."""
    home = tmp_path_factory.mktemp("plain")
    run_once(*tiny(colors, "--epochs", 4, "--logdir", home, "--name", "plain"))
    return home / "classify" / "plain"


def rounding(colors: Path, plain: Path, *more: object) -> list[object]:
    return tiny(colors, "--init_from", plain / "best.pt", "--quantization_aware", "--lr", 0.005, *more)


def test_the_checkpoint_is_an_ordinary_one_that_was_validated_with_rounding(call: Call, colors: Path, plain: Path) -> None:
    outcome = call(*rounding(colors, plain, "--ema"))
    assert outcome.code == 0, outcome.err
    assert "layers compute in 8 bits, in training and validation; what is saved has full precision" in outcome.out
    assert "batch-norm momentum" not in outcome.out, "norms rest"
    before, after = load_checkpoint(plain / "best.pt"), load_checkpoint(outcome.run / "best.pt")
    assert before["state_dict"].keys() == after["state_dict"].keys()
    weight = next(value for name, value in after["state_dict"].items() if name.endswith("weight") and value.ndim > 1)
    assert len(weight[0].unique()) > len(weight[0].flatten()) // 2, "weights are not left on the grid"
    assert not before["input_ranges"]
    ranges = after["input_ranges"]
    assert ranges
    assert all(value[0] < value[1] for value in ranges.values())
    assert call("--evaluation", "--resume", outcome.run, *ARCH, "--no_report").code == 0


def test_a_stopped_run_resumes_bit_for_bit_with_its_ranges(call: Call, colors: Path, plain: Path) -> None:
    flags = rounding(colors, plain, "--epochs", 3)
    whole = call(*flags)
    part = call(*flags, "--max_minutes", 1e-9, "--name", "part")
    assert part.code == 0, part.err
    assert call("--resume", part.run, *ARCH, "--max_minutes", 100).code == 0
    assert_equal_runs(whole.run, part.run)
    first, second = (load_checkpoint(run / "last.pt")["input_ranges"] for run in (whole.run, part.run))
    assert same(first, second)
    changed = call("--resume", part.run, *ARCH, "--no_quantization_aware", "--epochs", 9)
    assert changed.code == 2
    assert "--quantization_aware cannot begin or end on resume; start a new run with --init_from" in changed.err


def test_validation_rounds_and_evaluation_does_not(call: Call, colors: Path, plain: Path) -> None:
    steps = ("--lr", 1e-12, "--weight_decay", 0, "--epochs", 1)
    outcome = call(*rounding(colors, plain), *steps)
    exact = call(*tiny(colors, "--init_from", plain / "best.pt"), *steps, "--bn_images", 0, "--name", "exact")
    losses = [load_checkpoint(run / "best.pt")["progress"]["best"][1] for run in (outcome.run, exact.run)]
    assert 0 < abs(losses[0] - losses[1]) < 0.1


def test_settings_of_a_run_are_kept_but_for_its_length_and_its_rates(call: Call, plain: Path) -> None:
    flags = ("--config", plain / "config.json", "--init_from", plain / "best.pt", "--quantization_aware", "--logdir", ".")
    outcome = call(*flags, "--max_minutes", 1e-9)
    assert outcome.code == 0, outcome.err
    assert "--epochs 5 --lr 0.0001 --head_lr 0.0001: for --quantization_aware; your own flags win" in outcome.out
    now, then = (json.loads((run / "config.json").read_text()) for run in (outcome.run, plain))
    assert (now["epochs"], now["lr"], now["head_lr"]) == (5, 1e-4, 1e-4)
    assert (now["data"], now["image_size"], now["arch"], now["batch_size"]) == tuple(
        then[name] for name in ("data", "image_size", "arch", "batch_size")
    )
    again = call(*flags, "--max_minutes", 1e-9, "--epochs", 2, "--lr", 0.5)
    now = json.loads((again.run / "config.json").read_text())
    assert (now["epochs"], now["lr"], now["head_lr"]) == (2, 0.5, 0.5)


def test_what_a_run_set_for_its_norms_stays_behind_for_norms_that_rest() -> None:
    norms, typed = {"bn_momentum": "published", "bn_images": 64}, {"quantization_aware": True}
    assert without_length({**norms, "arch": "resnet18"}, typed) == {"arch": "resnet18"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--quantization_aware fine-tunes a network that is trained: add --init_from RUN/best.pt"),
        (("--resume", "auto"), "--quantization_aware fine-tunes a network that is trained: add --init_from RUN/best.pt"),
        (("--init_from", "x.pt", "--probe_head"), "do one after the other"),
        (("--init_from", "x.pt", "--bn_momentum", "published"), "--bn_momentum has no effect with --quantization_aware"),
        (("--init_from", "x.pt", "--bn_images", "64"), "--bn_images has no effect with --quantization_aware"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_line(call: Call, colors: Path, flags: tuple, said: str) -> None:
    outcome = call(*tiny(colors, "--quantization_aware", *flags))
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
