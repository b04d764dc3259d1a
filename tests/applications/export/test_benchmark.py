"""Files side by side, and the best of several."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import config
from applications.export import best
from applications.export.benchmark import Entry, choose, frontier
from applications.export.best import Candidate, choose_winner
from applications.export.label_reference import ALLOWED, LabelReference
from applications.export.measure import MeasuredFile, Subject, _check_same_answers
from applications.export.parity import Figures, Parity
from applications.export.record import Record
from applications.formats.facts import Facts
from applications.settings.options import ExportOptions
from dataloader.images.preprocess import Preprocess
from dataloader.splits.split import Split
from tests.applications.conftest import NETS, Call, read_rows, tiny
from utils.errors import UserError
from utils.timing import Timing, measure_times

ARCH = ("--arch", f"{NETS}:TinyNet")
FACTS = Facts("net", "classify", ("a", "b"), Preprocess(), "softmax")


def timing(milliseconds: float) -> Timing:
    return Timing(milliseconds / 1e3, milliseconds / 1e3, milliseconds / 1e3, 9, 0.0, milliseconds / 1e3)


def entry(name: str, milliseconds: float, accuracy: float) -> Entry:
    took = timing(milliseconds)
    return Entry(name, "onnx", accuracy, MeasuredFile(FACTS, Figures("top1", accuracy, ()), 0.1, took, took, None, 1))


def candidate(name: str, milliseconds: float, accuracy: float, *, refusal: str = "") -> Candidate:
    parity = Parity(10, 10, 10, 0.0, 0.0, 0.0, "top1", 0.9, accuracy, 0, LabelReference.words)
    record = Record(FACTS, "val", "data", ALLOWED["fp32"], 1, 1, 9.0, refusal, parity, timing(milliseconds))
    return Candidate(name, record, Path(), Path(name))


def test_the_fastest_of_those_that_are_accurate_enough_is_named() -> None:
    entries = [entry("fast", 1, 0.80), entry("good", 2, 0.896), entry("best", 3, 0.90)]
    found, said = choose(entries, None)
    assert found is entries[1], "half a point below the most accurate one"
    assert "the fastest with top1 of at least 89.50%" in said
    assert choose(entries, 0.8)[0] is entries[0]
    assert choose(entries, 0.9)[0] is entries[2]
    assert choose(entries, 0.91)[0] is None


def test_the_line_joins_what_nothing_beats_in_both() -> None:
    points = [(3.0, 0.9), (1.0, 0.8), (2.0, 0.7), (2.5, 0.9), (1.0, 0.6)]
    assert frontier(points) == [(1.0, 0.8), (2.5, 0.9)]


def test_the_winner_keeps_both_promises_and_its_parity() -> None:
    broken = candidate("broken", 0.5, 0.9, refusal="labels differ")
    quick, exact = candidate("quick", 1, 0.85), candidate("exact", 4, 0.9)
    assert choose_winner([broken, quick, exact], 0.895, None)[0] is exact
    assert choose_winner([broken, quick, exact], 0.8, None)[0] is quick
    nobody, said = choose_winner([broken, quick, exact], 0.895, 2.0)
    assert nobody is None
    assert "none of 3 files is accurate and fast enough" in said


def test_95_percent_of_the_runs_are_within_the_percentile() -> None:
    (found,) = measure_times([lambda: None], seconds=0.01)
    assert found.p95 >= found.median
    assert math.isnan(Timing(1, 1, 1, 5, 0).p95)


@pytest.fixture
def run(call: Call, colors: Path) -> Path:
    run = call(*tiny(colors, "--epochs", 3)).run
    assert call("--jit", "--resume", run, *ARCH).code == 0
    return run


@pytest.mark.slow
def test_a_checkpoint_and_its_file_are_measured_on_the_same_images(call: Call, run: Path) -> None:
    outcome = call("--benchmark", run, run / "model.jit.pt", *ARCH, "--logdir", "out", "--name", "both")
    assert outcome.code == 0, outcome.err + outcome.out
    folder = Path("out") / "benchmark" / "both"
    rows = read_rows(folder / "benchmark.csv")
    assert {row["kind"] for row in rows} == {"checkpoint", "torchscript"}
    assert rows[0]["top1"] == rows[1]["top1"], "the same model"
    facts = json.loads((folder / "benchmark.json").read_text())
    assert facts["images"] == 15
    recorded = json.loads((run / "parity-torchscript.json").read_text())["parity"]["model"]
    assert [each["accuracy"] for each in facts["files"]] == pytest.approx([recorded] * 2)
    assert all(each["load_seconds"] > 0 and each["bytes"] > 0 and each["images_per_second"] > 0 for each in facts["files"])
    assert (folder / "benchmark.png").stat().st_size > 1000
    assert "Each file" not in (folder / "benchmark.md").read_text().partition("On ")[0]
    assert "the fastest with top1 of at least" in outcome.out


@pytest.mark.slow
def test_a_damaged_file_costs_its_row_alone(call: Call, run: Path) -> None:
    (run / "model.onnx").write_bytes(b"no model")
    outcome = call("--benchmark", run, run / "model.onnx", *ARCH)
    assert outcome.code == 1
    assert "could not be measured" in outcome.out
    assert "is damaged or incomplete" in outcome.out


def test_what_is_missing_is_said_in_one_line(call: Call, run: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (run / "model.jit.pt").rename(lonely / "model.jit.pt")
    for flags, said in (
        (("--benchmark", "nowhere"), "there is no run, checkpoint or exported file nowhere"),
        (("--benchmark", lonely / "model.jit.pt"), "no checkpoint lies beside"),
        (("--export", "onnx", "--resume", run, "--max_ms", 3), "--max_ms chooses among files; write --export best"),
        (("--export", "best", "--resume", run, "--min_accuracy", 80), "--min_accuracy 80 is a share"),
        (("--export", "best", "--resume", run, "--int8"), "tries precisions by itself"),
        (("--export", "torchscript", "--resume", run, "--int8"), "has no room for 8-bit integers; take onnx or openvino"),
        (("--export", "onnx", "--resume", run, "--int8", "--half"), "give one of them"),
        (("--export", "onnx", "--resume", run, "--max_drop", 0.1), "has no effect without --int8"),
    ):
        outcome = call(*flags, *(() if "--benchmark" in flags else ARCH))
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 1), outcome.err
        assert said in outcome.err


@pytest.mark.slow
def test_the_best_export_is_the_only_one_that_stays(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--epochs", 3)).run
    outcome = call("--export", "best", "--resume", run, *ARCH, "--int8_images", 20, "--max_drop", 0.2)
    assert outcome.code == 0, outcome.err + outcome.out
    facts = json.loads((run / "export-best.json").read_text())
    assert "torchscript" in {each["name"] for each in facts["candidates"]}
    able = [each for each in facts["candidates"] if not each["fault"]]
    fastest = min(able, key=lambda each: each["timing"]["median_seconds"])
    assert facts["reason"].startswith(f"{fastest['name']} wins")
    kept = {file.name for file in run.iterdir() if file.name.startswith(("model", "."))}
    assert len(kept - {"model.bin", "model-int8.bin"}) == 1
    assert call("--export", "best", "--resume", run, *ARCH, "--max_ms", 1e-6).code == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_an_int8_file_says_what_it_lost_of_each_class(name: str, call: Call, colors: Path) -> None:
    pytest.importorskip("nncf")
    run = call(*tiny(colors, "--epochs", 4)).run
    outcome = call("--export", name, "--int8", "--resume", run, *ARCH, "--int8_images", 20, "--max_drop", 0.2)
    assert outcome.code == 0, outcome.err + outcome.out
    record = json.loads((run / f"parity-{name}-int8.json").read_text())
    assert record["file"]["precision"] == "int8"
    assert "nncf" in record["file"]["versions"]
    assert [row[0] for row in record["parity"]["classes"]] == ["blue", "green", "red"]
    assert record["parity"]["model"] - record["parity"]["file"] <= 0.2
    page = (run / f"parity-{name}-int8.md").read_text()
    assert "Layers in floating point: " in page
    assert "| class | images | found by the model | by the file | lost points |" in page


def test_a_larger_drop_than_allowed_is_refused() -> None:
    parity = Parity(200, 200, 190, 0.3, 0.01, 0.3, "top1", 0.9, 0.89, 0, LabelReference.words)
    assert parity.refusal(ALLOWED["int8"]) == "top1 falls by 1.00 points, allowed are 0.50"
    assert parity.refusal(replace(ALLOWED["int8"], drop=0.01)) == ""
    assert parity.refusal(ALLOWED["fp32"])


def test_a_share_that_is_enough_is_what_8_bits_may_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, float] = {}

    def write(source: Any, found: Any, options: ExportOptions, stack: Any) -> Candidate:
        del source, stack
        asked[found.name + (" int8" if options.int8 else "")] = options.max_drop
        return candidate(found.name, 1, 0.9)

    run = SimpleNamespace(path=Path("run/best.pt"))
    for name, change in {"_write": write, "read_source": lambda *_: SimpleNamespace(trained=run)}.items():
        monkeypatch.setattr(best, name, change)
    for name in ("write_table", "write_record", "place"):
        monkeypatch.setattr(best, name, lambda *_: None)
    for flags, drop in ((("--min_accuracy", "0.5"), 0.4), (("--min_accuracy", "0.5", "--max_drop", "0.1"), 0.1), ((), 0.005)):
        assert best.export_best(config.parse(["--export", "best", "--resume", "run", *flags])) == 0
        assert asked["onnx int8"] == pytest.approx(drop)
        assert asked["onnx"] == pytest.approx(0.1 if "--max_drop" in flags else 0.005)


def test_a_file_of_another_task_or_of_other_classes_is_not_measured() -> None:
    subject = Subject(Path("m.onnx"), True, {}, Split("val", Path(), (), np.zeros(0, np.int64)), "classify", ("b", "a"), 1)
    _check_same_answers(FACTS, subject)
    with pytest.raises(UserError, match="it is a model of --task segment, and the images are measured by --task classify"):
        _check_same_answers(replace(FACTS, task="segment"), subject)
    with pytest.raises(UserError, match="it knows 2 classes, which are not the 3 of the images"):
        _check_same_answers(FACTS, replace(subject, classes=("a", "b", "c")))
