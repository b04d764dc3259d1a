"""A config file, such as that of a run, with another optimizer."""

import json
from pathlib import Path

import pytest

import config
from applications.settings.optimizer_change import rates_of_another
from applications.settings.options import RunConfig


def file_of(tmp_path: Path, **settings: object) -> str:
    """Return the path of a file of settings: those of a run, where an optimizer is among them."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(RunConfig().override(settings).to_dict() if "opt" in settings else settings))
    return str(file)


@pytest.mark.parametrize(
    ("filed", "opt", "lr", "decay"),
    [
        ({"opt": "lars", "lr": 1.0, "weight_decay": 5e-4}, "adamw", 1e-3, 0.01),
        ({"opt": "adamw"}, "sgd", 0.05, 5e-4),
        ({"opt": "sgd", "lr": 0.2, "weight_decay": 1e-4}, "Momentum", 0.2, 1e-4),
        ({"opt": "adam", "lr": 2e-3, "weight_decay": 1e-4}, "adamw", 2e-3, 0.01),
        ({"lr": 0.3}, "sgd", 0.3, 5e-4),
    ],
)
def test_the_rates_of_a_file_are_those_of_its_optimizer(tmp_path: Path, filed: dict, opt: str, lr: float, decay: float) -> None:
    optim = config.parse(["--config", file_of(tmp_path, **filed), "--opt", opt]).config.optim
    assert (optim.lr, optim.weight_decay) == (lr, decay)


def test_what_is_typed_stays_and_what_is_left_out_is_known(tmp_path: Path) -> None:
    file = file_of(tmp_path, opt="lars", lr=1.0, head_lr=2.0, weight_decay=5e-4)
    request = config.parse(["--config", file, "--opt", "adamw", "--lr", "0.004"])
    assert (request.config.optim.lr, request.config.optim.head_lr) == (0.004, None)
    assert request.left_out == {"head_lr": 2.0, "weight_decay": 5e-4}
    assert config.parse(["--config", file]).left_out == {}


def test_rates_of_nobody_are_left_alone() -> None:
    assert rates_of_another({"lr": 0.3}, "sgd") == {}
    assert rates_of_another({"opt": "sgd", "lr": 0.3}, None) == {}
    assert rates_of_another({"opt": "sgd", "lr": 0.3, "head_lr": None}, "adamw", kept=["weight_decay"]) == {"lr": 0.3}
