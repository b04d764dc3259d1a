"""--channels 1: a run on brightness alone, from the start to another run that begins from it."""

from pathlib import Path

from tests.applications.conftest import Call, tiny
from utils.checkpoint import load_checkpoint


def test_a_gray_run_trains_is_measured_and_lends_its_weights_to_one_with_colors(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--channels", "1"))
    assert outcome.code == 0, outcome.err
    content = load_checkpoint(outcome.run / "best.pt")
    first = next(iter(content["state_dict"].values()))
    assert first.shape[1] == len(content["preprocess"]["mean"]) == 1
    arch = tiny(colors)[tiny(colors).index("--arch") + 1]
    measured = call("--evaluation", "--resume", outcome.run, "--arch", arch, "--no_report")
    assert measured.code == 0, measured.err
    assert "--channels cannot change on resume" in call("--resume", outcome.run, "--arch", arch, "--channels", "3", "--epochs", "3").err
    colored = call(*tiny(colors, "--init_from", outcome.run / "best.pt"))
    assert colored.code == 0, colored.err
    assert "first convolution fitted from 1 to 3 channels" in colored.out
    assert len(load_checkpoint(colored.run / "best.pt")["preprocess"]["mean"]) == 3
