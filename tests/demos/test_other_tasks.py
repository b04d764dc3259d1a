"""Each demo says of the files of other tasks what they are, and which program opens them."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from applications.formats.facts import BoxFacts, Facts
from applications.tasks import TASKS
from dataloader.images.preprocess import Preprocess
from demos import classifier, detector, segmenter

CLASSIFIER = Facts("net", "classify", ("bolt", "nut"), Preprocess((8, 8)), "softmax")
CARDS = {
    "classify": CLASSIFIER,
    "multilabel": replace(CLASSIFIER, task="multilabel", activation="sigmoid", thresholds=(0.5, 0.5)),
    "segment": replace(CLASSIFIER, task="segment"),
    "detect": replace(CLASSIFIER, task="detect", activation="none", outputs=("boxes", "scores"), boxes=BoxFacts(0.25, 0.65, 9, False)),
    "anomaly": replace(CLASSIFIER, task="anomaly", activation="none", outputs=("score", "map"), thresholds=(3.5,)),
}
PROGRAMS = {
    "classify": "demos/classifier.py",
    "multilabel": "demos/classifier.py",
    "segment": "demos/segmenter.py",
    "detect": "demos/detector.py",
    "anomaly": "python main.py --predict",
}
DEMOS = {"demos/classifier.py": classifier, "demos/segmenter.py": segmenter, "demos/detector.py": detector}


class Same(nn.Module):
    """What a file of any task may hold where it is not asked."""

    def forward(self, images: Tensor) -> Tensor:
        return images


def write_file(path: Path, text: str) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.")
        torch.jit.save(torch.jit.script(Same()), str(path), _extra_files={"darkroom.json": text})
    return path


def refusal(demo: ModuleType, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a demo refuses a file."""
    monkeypatch.setattr(sys, "argv", ["demo", str(file), "photo.jpg"])
    assert demo.main() == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_every_task_is_known_here() -> None:
    assert set(TASKS) == set(CARDS)


@pytest.mark.parametrize("task", CARDS)
@pytest.mark.parametrize("name", DEMOS)
def test_files_of_other_tasks_are_refused_with_the_program_that_opens_them(
    name: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CARDS[task].to_json()
    if PROGRAMS[task] == name:
        assert DEMOS[name]._read_card("model.pt", text)["task"] == task
        return
    said = refusal(DEMOS[name], write_file(tmp_path / "model.pt", text), monkeypatch, capsys)
    assert f"its task is {task}" in said
    assert PROGRAMS[task] in said


@pytest.mark.parametrize("name", DEMOS)
def test_a_task_of_ones_own_that_answers_otherwise_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_file(tmp_path / "model.pt", replace(CARDS["anomaly"], task="mine.py:Depth", thresholds=None).to_json())
    assert "its task is mine.py:Depth" in refusal(DEMOS[name], file, monkeypatch, capsys)


def test_a_classifier_may_be_of_a_task_of_ones_own_or_say_none() -> None:
    assert classifier._read_card("model.pt", replace(CLASSIFIER, task="mine.py:Kinds").to_json())["classes"] == ["bolt", "nut"]
    first = {key: value for key, value in json.loads(CLASSIFIER.to_json()).items() if key not in ("task", "outputs")}
    assert classifier._read_card("model.pt", json.dumps(first))["classes"] == ["bolt", "nut"]
    for other in (detector, segmenter):
        with pytest.raises(other.ModelError, match=r"is a classifier .*; demos/classifier\.py does"):
            other._read_card("model.pt", json.dumps(first))
