"""The exported file answers as the trained model does, or it is not kept."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from applications.export import convert
from applications.formats import torchscript
from applications.formats.contract import Format
from applications.formats.deployed import Deployed
from applications.formats.facts import Facts
from dataloader.images.preprocess import Normalize
from tests.applications.conftest import NETS, ROOT, Call, read_rows, tiny

ARCH = ("--arch", f"{NETS}:TinyNet")


@pytest.fixture
def run(call: Call, colors: Path) -> Path:
    return call(*tiny(colors, "--image_size", 24, 16, "--epochs", 1)).run


def left_over(run: Path) -> list[str]:
    """Return the names of what an export left, beside its records."""
    return [file.name for file in run.iterdir() if file.name.startswith((".", "model"))]


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
    assert facts["checkpoint_sha256"] == convert.sha256_of(run / "best.pt")
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]
    for size in ((24, 16), (7, 90), (300, 200)):
        answer = module(torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8))
        torch.testing.assert_close(answer.sum(1), torch.ones(2))
    record = json.loads((run / "parity-torchscript.json").read_text())
    assert record["kept"]
    assert record["parity"]["agreeing"] == 15
    assert record["parity"]["largest"] <= 1e-4
    assert record["bytes"] == (run / "model.jit.pt").stat().st_size
    assert "Kept as `model.jit.pt`" in (run / "parity-torchscript.md").read_text()
    assert left_over(run) == ["model.jit.pt"]


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


class Reversed(nn.Module):
    """Takes its images for BGR."""

    def __init__(self, normalize: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, images: Tensor) -> Tensor:
        return self.normalize(images.flip(1))


class Nearest(nn.Module):
    """Resizes by another kernel."""

    def __init__(self, height: int, width: int, resize: str) -> None:
        super().__init__()
        self.size = (height, width)
        self.resize = resize

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images.float(), self.size, mode="nearest")


Break = Callable[[pytest.MonkeyPatch], None]


def break_parts(change: Callable[[Deployed], Any]) -> Break:
    """Return what lets the exporter write a changed model."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        honest = convert.build_deployed

        def build(source: convert.Source, found: Format) -> Deployed:
            deployed = honest(source, found)
            change(deployed)
            return deployed

        monkeypatch.setattr(convert, "build_deployed", build)

    return apply


def wrong_mean(deployed: Deployed) -> None:
    deployed.answering.normalize = Normalize((0.0, 0.0, 0.0), deployed.preprocess.std)


def wrong_order(deployed: Deployed) -> None:
    deployed.answering.normalize = Reversed(deployed.answering.normalize)


def wrong_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchscript, "FitImages", Nearest)


def wrong_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = torchscript.TorchScript.write

    def write(self: torchscript.TorchScript, deployed: Deployed, path: Path, facts: Facts, settings: Any) -> list[str]:
        return honest(self, deployed, path, replace(facts, classes=facts.classes[::-1]), settings)

    monkeypatch.setattr(torchscript.TorchScript, "write", write)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param(break_parts(wrong_mean), "the first layer that differs is normalization", id="mean"),
        pytest.param(break_parts(wrong_order), "the first layer that differs is normalization", id="bgr"),
        pytest.param(wrong_resize, "the first layer that differs is geometry", id="resize"),
        pytest.param(wrong_classes, "it says otherwise of classes", id="classes"),
    ],
)
def test_a_broken_export_is_not_kept(broken: Break, said: str, call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 1
    assert "answers otherwise than the model" in outcome.out
    assert said in outcome.out
    assert left_over(run) == []
    record = json.loads((run / "parity-torchscript.json").read_text())
    assert not record["kept"]
    assert said in record["refusal"]
    assert "Not kept: " in (run / "parity-torchscript.md").read_text()


def test_a_runtime_that_dies_costs_the_file_alone(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "model.jit.pt").write_bytes(b"of before")

    def write(self: torchscript.TorchScript, deployed: Deployed, path: Path, *_: object) -> list[str]:
        del self, deployed
        path.write_bytes(b"no model")
        return []

    monkeypatch.setattr(torchscript.TorchScript, "write", write)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 1
    assert "its runtime failed" in outcome.out
    assert (run / "model.jit.pt").read_bytes() == b"of before"


def test_the_tolerance_can_be_chosen(call: Call, run: Path) -> None:
    outcome = call("--jit", "--resume", run, *ARCH, "--tolerance", "0")
    assert outcome.code == 1, "folded batch norms round otherwise"
    assert "allowed are 0e+00" in outcome.out


def test_a_list_is_called_by_its_name_not_by_its_folder(call: Call, colors: Path) -> None:
    lines = [f"{path},{path.parent.name},{path.parent.parent.name}\n" for path in sorted(colors.rglob("*.png"))]
    Path("my list.csv").write_text("image,label,split\n" + "".join(lines))
    run = call(*tiny("my list.csv", "--epochs", 1)).run
    assert f"compare   on 15 val images of {Path('my list.csv').resolve()}\n" in call("--jit", "--resume", run, *ARCH).out
    assert f"data      {Path('my list.csv').resolve()}: 15 test images" in call("--evaluation", "--resume", run, *ARCH, "--no_report").out
