"""The rate of a classifier that comes with the weights."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from applications.settings.options import RunConfig
from applications.training.head_rate import with_head_rate
from applications.training.training_parts import TrainingParts
from tests.applications.conftest import Call, tiny

FILE: dict[str, Any] = {"arch": "resnet18", "classes": ["a", "b"], "task": "classify"}


def rate_of_head(file: Path, *, classes: tuple[str, ...] = ("a", "b"), given: tuple[str, ...] = (), **settings: object) -> float | None:
    """Return --head_lr of a fine-tuning from a file, on data of these classes."""
    config = RunConfig().override({"init_from": str(file), "arch": "resnet18", "lr": 3e-4, "head_lr": 3e-3, **settings})
    fake: Any = SimpleNamespace(classes=classes)
    parts = TrainingParts(config, fake, fake, fake, fake, fake)
    parts.__dict__["kind"] = SimpleNamespace(name="classify")
    return with_head_rate(parts, given).config.optim.head_lr


@pytest.mark.parametrize(("classes", "rate"), [(["a", "b"], 3e-4), (["b", "a"], 3e-4), (["a", "c"], 3e-3), (["a", "b", "c"], 3e-3)])
def test_a_classifier_that_knows_these_classes_learns_at_the_rate_of_the_rest(tmp_path: Path, classes: list[str], rate: float) -> None:
    torch.save(FILE | {"classes": classes}, tmp_path / "best.pt")
    assert rate_of_head(tmp_path / "best.pt") == rate


def test_a_new_classifier_and_a_rate_that_was_asked_for_stay(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    torch.save(FILE, file)
    assert rate_of_head(file, given=("head_lr",)) == 3e-3
    assert rate_of_head(file, head_lr=None) is None
    assert rate_of_head(file, arch="stages(resnet18)") == 3e-3, "the file fills what lies below the classifier alone"
    torch.save({"weight": torch.zeros(2)}, file)
    assert rate_of_head(file) == 3e-3, "a file of plain weights names no classes"


def test_a_fine_tuning_goes_on_with_the_classifier_of_a_run(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 1)).run
    again = call(*tiny(colors, "--epochs", 1, "--recipe", "finetune", "--init_from", run / "best.pt"))
    assert again.code == 0, again.err
    assert "knows these classes" in again.out
    assert json.loads((again.run / "config.json").read_text())["head_lr"] == 0.02
