"""The exported file answers as the trained model does, or it is not kept."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from applications.export import convert, source, staging
from applications.export.answers import Answers
from applications.export.label_reference import ALLOWED, LabelReference
from applications.export.parity import Parity
from applications.export.record import Record
from applications.formats import torchscript
from applications.formats.deployed import Core, Deployed
from applications.formats.facts import BoxFacts, Facts
from applications.formats.format import Format
from applications.settings.options import ExportOptions
from dataloader.images.preprocess import Normalize, Preprocess
from dataloader.splits.split import Split
from tests.applications.conftest import NETS, ROOT, Call, read_rows, run_once, tiny, write_colors
from utils.errors import UserError
from utils.timing import Timing

ARCH = ("--arch", f"{NETS}:TinyNet")
MAPS = Path(__file__).parent.parent / "map_net.py"


@pytest.fixture(scope="session")
def trained(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run_once(*tiny(colors, "--image_size", 24, 16, "--epochs", 1, "--logdir", folder, "--name", "one"))
    return folder / "classify" / "one"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a run folder of this test's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


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
    assert facts["checkpoint_sha256"] == source.sha256_of(run / "best.pt")
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


Break = Callable[[pytest.MonkeyPatch], None]


def break_parts(change: Callable[[Deployed], Any]) -> Break:
    """Return what lets the exporter write a changed model."""

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        honest = convert.build_deployed

        def build(model: source.Source, found: Format) -> Deployed:
            deployed = honest(model, found)
            change(deployed)
            return deployed

        monkeypatch.setattr(convert, "build_deployed", build)

    return apply


def wrong_mean(deployed: Deployed) -> None:
    deployed.answering.normalize = Normalize((0.0, 0.0, 0.0), deployed.preprocess.std)


def wrong_order(deployed: Deployed) -> None:
    deployed.answering.normalize = Reversed(deployed.answering.normalize)


def wrong_resize(deployed: Deployed) -> None:
    object.__setattr__(deployed, "preprocess", replace(deployed.preprocess, resize="stretch"))


def wrong_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = torchscript.TorchScript.write

    def write(self: torchscript.TorchScript, deployed: Deployed, path: Path, facts: Facts, settings: Any) -> list[str]:
        return honest(self, deployed, path, replace(facts, classes=facts.classes[::-1]), settings)

    monkeypatch.setattr(torchscript.TorchScript, "write", write)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param(break_parts(wrong_mean), "the first layer that differs is normalization", id="mean"),
        pytest.param(break_parts(wrong_order), "the first layer that differs is normalization", id="bgr", marks=pytest.mark.slow),
        pytest.param(break_parts(wrong_resize), "the first layer that differs is geometry", id="resize", marks=pytest.mark.slow),
        pytest.param(wrong_classes, "it says otherwise of classes", id="classes", marks=pytest.mark.slow),
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


def test_a_file_that_is_right_for_the_one_size_of_the_images_alone_is_not_kept(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of the network's shape: whether a resize keeps the shape cannot be seen of these.
    alike = write_colors(tmp_path / "alike", {"train": 20, "val": 5}, size=(48, 32))
    run = call(*tiny(alike, "--image_size", 24, 16, "--epochs", 1)).run
    break_parts(wrong_resize)(monkeypatch)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert "15 of 15 labels agree" in outcome.out
    assert outcome.code == 1
    assert "of images of another size a probability differs by up to" in outcome.out
    assert call("--jit", "--resume", run, *ARCH, "--no_dynamic_size").code == 0, "files of one size promise nothing else"


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


def test_more_outputs_and_half_the_bits_are_compared_too(call: Call, colors: Path) -> None:
    run = call(*tiny(colors, "--arch", f"{MAPS}:MapNet", "--epochs", 1)).run
    flags = ("--resume", run, "--arch", f"{MAPS}:MapNet", "--with_features", "--with_cam", "--half", "--no_dynamic_size")
    outcome = call("--jit", *flags)
    assert outcome.code == 0, outcome.out
    file = json.loads((run / "parity-torchscript-half.json").read_text())["file"]
    assert (file["precision"], file["any_size"], file["outputs"]) == ("half", False, ["probabilities", "features", "cam"])
    outputs = torch.jit.load(str(run / "model-half.jit.pt"))(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert [tuple(each.shape) for each in outputs] == [(2, 3), (2, 12), (2, 3, 4, 4)]


def test_the_tolerance_can_be_chosen(call: Call, run: Path) -> None:
    outcome = call("--jit", "--resume", run, *ARCH, "--tolerance", "0")
    assert outcome.code == 1, "folded batch norms round otherwise"
    assert "allowed are 0e+00" in outcome.out


def test_a_slower_file_of_8_bits_is_told_what_else_to_try() -> None:
    facts = Facts("net", "classify", ("a", "b"), Preprocess(), "softmax", exported_as="onnx", precision="int8")
    slow, quick = (Timing(seconds, seconds, seconds, 9, 0.0) for seconds in (0.002, 0.001))
    record = Record(facts, "val", "data", ALLOWED["int8"], 1, 1, 9.0, "", timing=slow, plain=quick)
    assert "leave --int8 out, or try --export openvino --int8" in convert.slower_note(record, ["onnx"])[0]
    assert convert.slower_note(record, ["onnx", "openvino"])[0].endswith("leave --int8 out"), "both are written already"
    assert not convert.slower_note(replace(record, refusal="labels differ"), ["onnx"]), "there is no file"
    assert not convert.slower_note(replace(record, timing=quick, plain=slow), ["onnx"])


def test_a_file_that_lost_too_much_in_8_bits_names_the_way_out(tmp_path: Path) -> None:
    facts = Facts("net", "classify", ("a", "b"), Preprocess(), "softmax", exported_as="onnx", precision="int8")
    parity = Parity(200, 200, 190, 0.3, 0.01, 0.3, "top1", 0.9, 0.88, 0, LabelReference.words)
    record = Record(facts, "val", "data", ALLOWED["int8"], 1, 1, 9.0, "top1 falls", parity)
    said = convert.way_out_of_loss(record, tmp_path / "best.pt", "resnet18")
    assert said.startswith(f"next: python main.py --data DATA --arch resnet18 --init_from {tmp_path}/best.pt --quantization_aware")
    (tmp_path / "config.json").write_text("{}")
    assert f"--config {tmp_path}/config.json --init_from" in convert.way_out_of_loss(record, tmp_path / "best.pt", "resnet18")
    kept = replace(record, parity=replace(parity, file=0.9))
    fitted = replace(record, facts=replace(facts, task="anomaly"))
    exact = replace(record, allowed=ALLOWED["fp32"])
    unknown = replace(record, parity=replace(parity, file=float("nan")))
    assert not any(convert.way_out_of_loss(each, tmp_path / "best.pt", "net") for each in (kept, fitted, exact, unknown))


def test_a_list_is_called_by_its_name_not_by_its_folder(call: Call, colors: Path) -> None:
    lines = [f"{path},{path.parent.name},{path.parent.parent.name}\n" for path in sorted(colors.rglob("*.png"))]
    Path("my list.csv").write_text("image,label,split\n" + "".join(lines))
    run = call(*tiny("my list.csv", "--epochs", 1)).run
    assert f"compare   on 15 val images of {Path('my list.csv').resolve()}\n" in call("--jit", "--resume", run, *ARCH).out
    assert f"data      {Path('my list.csv').resolve()}: 15 test images" in call("--evaluation", "--resume", run, *ARCH, "--no_report").out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--export", "onxx"), "unknown format 'onxx'. Did you mean onnx?"),
        (("--export", "onnx,safetensors"), "--export safetensors: take hub here (a folder with model.safetensors"),
        (("--export", "onnx,onnx"), "names a format twice"),
        (("--export", "best,onnx"), "best tries all formats by itself; name it alone"),
        (("--export", "onnx,"), "--export onnx, names no format; known are torchscript"),
        (("--export", "hub", "--with_cam"), "the format hub answers probabilities alone"),
        (("--export", "torchscript", "--opset", 18), "--opset 18 is for the formats onnx and openvino"),
        (("--export", "torchscript", "--with_features"), "TinyNet has no head of its own that reads a map"),
        (("--export", "hub"), "is a network of your own file"),
    ],
)
def test_what_a_format_cannot_hold_is_said_in_one_line(flags: tuple[object, ...], said: str, call: Call, run: Path) -> None:
    outcome = call(*flags, "--resume", run, *ARCH)
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert left_over(run) == []


def test_a_missing_runtime_ends_the_call_before_anything_is_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = call("--export", "onnx", "--resume", "no such run")
    assert outcome.code == 2
    assert outcome.err.endswith("the format onnx needs onnxruntime, about 70 MB: pip install onnxruntime\n")


def test_a_checkpoint_that_changes_while_it_is_read_is_refused(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = source.load_trained

    def load(*args: Any) -> Any:
        trained = honest(*args)
        (run / "best.pt").write_bytes((run / "best.pt").read_bytes() + b"more")
        return trained

    monkeypatch.setattr(source, "load_trained", load)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 2
    assert "best.pt changes while it is read; wait until the training is done" in outcome.err


def test_a_full_disk_leaves_nothing(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: torchscript.TorchScript, deployed: Deployed, path: Path, *_: object) -> list[str]:
        del self, deployed
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torchscript.TorchScript, "write", write)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 2
    assert "model.jit.pt: no space left on device; free some space" in outcome.err
    assert left_over(run) == []


def test_a_disk_with_too_little_room_is_noticed_first(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 2
    assert "model.jit.pt: 1 kB are free, about 4 MB are needed" in outcome.err


def test_a_class_map_that_is_another_one_is_not_kept(call: Call, colors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = call(*tiny(colors, "--arch", f"{MAPS}:MapNet", "--epochs", 1)).run
    flags = ("--resume", run, "--arch", f"{MAPS}:MapNet", "--with_features", "--with_cam")
    honest = Core._class_map
    monkeypatch.setattr(convert, "build_deployed", mirrored_maps(honest))
    outcome = call("--jit", *flags)
    assert outcome.code == 1
    assert "15 of 15 labels agree" in outcome.out
    assert "a value of cam differs by" in outcome.out


def mirrored_maps(honest: Callable[[Core, list[Tensor]], Tensor]) -> Callable[[source.Source, Format], Deployed]:
    """Return what lets the exporter write maps that are mirrored."""

    class Mirrored(Core):
        def _class_map(self, maps: list[Tensor]) -> Tensor:
            return honest(self, maps).flip(-1)

    def build(model: source.Source, found: Format) -> Deployed:
        deployed = model.deployed(model.options, any_size=found.holds.geometry)
        deployed.answering.core.__class__ = Mirrored
        return deployed

    return build


def test_an_image_that_cannot_be_read_is_left_out_of_the_comparison(call: Call, colors: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(colors, tmp_path / "data"))
    run = call(*tiny(data, "--epochs", 1)).run
    first = min((data / "val").rglob("*.png"))
    first.write_bytes(first.read_bytes()[:40])
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 0, outcome.err
    assert f"1 val image left out of the comparison: cannot read the image {first}" in outcome.out + outcome.err
    assert "14 of 14 labels agree" in outcome.out


def test_drafts_of_a_killed_export_are_swept_and_those_of_a_running_one_stay(call: Call, run: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed, running = (run / f".model-half.onnx.{number}.tmp" for number in (ended.pid, os.getppid()))
    for folder in (killed, running):
        folder.mkdir()
    assert call("--jit", "--resume", run, *ARCH).code == 0
    assert not killed.exists()
    assert running.exists()


def test_sigterm_ends_an_export_as_ctrl_c_does(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: torchscript.TorchScript, deployed: Deployed, path: Path, *_: object) -> list[str]:
        del self, deployed
        path.write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGTERM)
        return []

    monkeypatch.setattr(torchscript.TorchScript, "write", write)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 130
    assert left_over(run) == []


def test_a_folder_that_takes_nothing_is_noticed_before_the_checkpoint_is_read(
    call: Call, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(staging.tempfile, "TemporaryFile", refuse)
    outcome = call("--jit", "--resume", run, *ARCH)
    assert outcome.code == 2
    assert outcome.err == f"error: nothing can be written in {run}: permission denied; copy the run to a folder of yours and export that\n"
    assert "model " not in outcome.out


@pytest.mark.parametrize(
    "changed",
    [
        {"thresholds": (0.5, 0.5)},
        {"reject": (0.1, 0.2)},
        {"temperature": 2.0},
        {"preprocess": Preprocess((32, 32))},
        {"checkpoint_sha256": "other"},
        {"boxes": BoxFacts(0.3, 0.5, 9, False)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_a_file_says_otherwise_of_itself_is_named(changed: dict[str, Any]) -> None:
    facts = Facts("net", "classify", ("a", "b"), Preprocess(), "softmax")
    rows = np.zeros((1, 2), np.float32)
    told = Answers(replace(facts, **changed, versions={"torch": "9"}), rows, rows, Timing(1, 1, 1, 5, 0), 0.1)
    assert convert.differing_facts(told, facts) == f"it says otherwise of {next(iter(changed))}"
    assert not convert.differing_facts(replace(told, facts=replace(facts, any_size=False, versions={})), facts)


def test_what_may_be_lost_reaches_the_comparison() -> None:
    split = Split("val", Path(), ("a",), np.zeros(1, np.int64))
    chosen = ExportOptions(int8=True, max_drop=0.02)
    task: Any = None
    held = source.Source(task, LabelReference(task, split), np.zeros((1, 2)), np.zeros((1, 2)), chosen, "", 1.0)
    assert held.allowed.drop == 0.02
    assert replace(held, options=replace(chosen, int8=False)).allowed.drop is None
    assert replace(held, options=replace(chosen, tolerance=0.3)).allowed.difference == 0.3


FAMILIES = [family.variants[0] for family in models.FAMILIES.values()]
# From small to large: some networks cut images into patches, or take one size alone.
SIZES = ((40, 48), (32, 48), (64, 72), (224, 224))


def smallest_size(arch: str) -> tuple[int, int]:
    """Return the first of SIZES that a network takes."""
    network = models.build_model(arch, num_classes=3)
    for size in SIZES:
        with contextlib.suppress(UserError):
            network.check_size(size)
            return size
    raise AssertionError(f"{arch} takes none of {SIZES}")


@pytest.mark.slow
@pytest.mark.parametrize("arch", FAMILIES)
def test_every_family_passes_in_every_common_format(arch: str, call: Call, colors: Path) -> None:
    flags = ("--arch", arch, "--image_size", *smallest_size(arch), "--epochs", 1, "-b", 20, "-j", 0, "--precision", "fp32")
    run = call("--data", colors, *flags).run
    outcome = call("--export", "torchscript,onnx,openvino,hub", "--resume", run)
    assert outcome.code == 0, outcome.out
    for name in ("torchscript", "onnx", "openvino", "hub"):
        record = json.loads((run / f"parity-{name}.json").read_text())
        assert record["kept"]
        assert record["parity"]["largest"] < 1e-4
        assert record["file"]["any_size"] == (name != "hub")
        assert not record["notes"] or name == "hub"
    assert {file.name for file in run.glob("model*")} == {"model.jit.pt", "model.onnx", "model.xml", "model.bin", "model-hub"}


@pytest.mark.slow
def test_timm_loads_the_folder_of_a_family_that_it_has(call: Call, colors: Path) -> None:
    timm = pytest.importorskip("timm")
    run = call("--data", colors, "--arch", "resnet18", "--image_size", 32, 32, "--epochs", 1, "-b", 20, "-j", 0).run
    assert call("--export", "hub", "--resume", run).code == 0
    net = timm.create_model(f"local-dir:{run / 'model-hub'}", pretrained=True)
    weights = torch.load(run / "best.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert tuple(net.pretrained_cfg["mean"]) == (0.485, 0.456, 0.406)
