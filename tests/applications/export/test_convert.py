"""The exported file answers as the trained model does, or it is not written."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from applications.export import convert
from tests.applications.conftest import NETS, ROOT, Call, read_rows, tiny

ARCH = ("--arch", f"{NETS}:TinyNet")


@pytest.fixture
def run(call: Call, colors: Path) -> Path:
    return call(*tiny(colors, "--image_size", 24, 16, "--epochs", 1)).run


def test_the_file_holds_all_that_a_program_needs(call: Call, run: Path) -> None:
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    assert "15 of 15 labels agree" in outcome.out
    extra = {"darkroom.json": ""}
    module = torch.jit.load(str(run / "model.jit.pt"), _extra_files=extra)
    facts = json.loads(extra["darkroom.json"])
    assert facts["classes"] == ["blue", "green", "red"]
    assert facts["image_size"] == [24, 16]
    assert facts["resize"] == "fit"
    for size in ((24, 16), (7, 90), (300, 200)):
        answer = module(torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8))
        torch.testing.assert_close(answer.sum(1), torch.ones(2))


def test_the_demo_gives_exactly_the_labels_of_evaluation(call: Call, run: Path, colors: Path, tmp_path: Path) -> None:
    call("--jit", "--resume", run, *ARCH)
    call("--evaluation", "--no_report", "--resume", run, *ARCH)
    command = [sys.executable, str(ROOT / "demos" / "classifier.py"), str(run.resolve() / "model.jit.pt"), str(colors / "test"), "--json"]
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
    answers = {answer["path"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    rows = read_rows(run / "evaluation-test" / "predictions.csv")
    assert len(rows) == len(answers) == 15
    for row in rows:
        best = answers[row["path"]]["top"][0]
        assert best["label"] == row["predicted"]
        assert best["probability"] == pytest.approx(float(row[row["predicted"]]), abs=1e-5)


def test_a_file_that_answers_otherwise_is_not_written(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = convert.answers_of_file
    monkeypatch.setattr(convert, "answers_of_file", lambda path, split: honest(path, split) + 2e-4)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 1
    assert "answers otherwise" in outcome.out
    assert not [file for file in run.iterdir() if "jit" in file.name]


def test_a_label_that_turns_is_refused_however_close_the_probabilities_are(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both sides say nearly 1/3 for every class, so that a difference far below the tolerance turns a label.
    even = torch.full((15, 3), 1 / 3) + torch.tensor([1e-6, 0.0, 0.0])
    turned = even.clone()
    turned[4] = even[4].flip(0)
    monkeypatch.setattr(convert, "answers_of_file", lambda *_: turned)
    monkeypatch.setattr(convert, "predict_split", lambda *_: SimpleNamespace(probabilities=even))
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 1
    assert "14 of 15 labels agree" in outcome.out
    assert not [file for file in run.iterdir() if "jit" in file.name]


def test_a_list_is_called_by_its_name_not_by_its_folder(call: Call, colors: Path) -> None:
    lines = [f"{path},{path.parent.name},{path.parent.parent.name}\n" for path in sorted(colors.rglob("*.png"))]
    Path("my list.csv").write_text("image,label,split\n" + "".join(lines))
    run = call(*tiny("my list.csv", "--epochs", 1)).run
    assert f"compare   on 15 val images of {Path('my list.csv').resolve()}\n" in call("--jit", "--resume", run, *ARCH).out
    assert f"data      {Path('my list.csv').resolve()}: 15 test images" in call("--evaluation", "--resume", run, *ARCH, "--no_report").out
