"""Every row of FORMATS keeps the contract: what was written is opened in its own runtime, and answers the same."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from applications.formats import FORMATS, build_format
from applications.formats.deployed import deploy
from applications.formats.facts import Facts
from applications.formats.format import WriteSettings
from applications.formats.onnx import opset_of, to_onnx
from applications.formats.package import Package, check_installed
from applications.trained.exported import is_exported, load_exported
from dataloader.images.preprocess import Preprocess, fit_images
from dataloader.targets.label import Label
from models import build_model
from models.backbone import Backbone
from tests.applications.formats.conftest import PREPROCESS, Written
from utils.errors import UserError

# Compiling takes minutes where others have the machine.
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name == "aoti" else name for name in FORMATS]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gives_the_answers_of_its_model(name: str, written: Written) -> None:
    path, deployed, facts = written(name)
    found = build_format(name)
    assert found.name == name
    assert found.recognizes(path)
    assert [other for other in FORMATS if other != name and build_format(other).recognizes(path)] == []
    opened = found.open(path, threads=1)
    assert opened.facts == facts
    rng = np.random.default_rng(0)
    # 19: more than some formats plan memory for.
    sizes = [(1, 24, 16), (3, 24, 16), (19, 24, 16)] + ([(1, 40, 30), (4, 31, 77), (1, 1, 90), (2, 9, 5)] if facts.any_size else [])
    for n, h, w in sizes:
        images = rng.integers(0, 256, (n, 3, h, w), dtype=np.uint8)
        with torch.inference_mode():
            expected = deployed.answering(fit_images(torch.from_numpy(images), *PREPROCESS.image_size, PREPROCESS.resize))
        outputs = opened.run(images)
        assert len(outputs) == len(facts.outputs)
        for output, wanted in zip(outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
            assert output.dtype == np.float32
            np.testing.assert_allclose(output, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_and_a_foreign_file_are_refused_in_one_line(name: str, written: Written, tmp_path: Path) -> None:
    whole_file = written(name).path
    path = Path(shutil.copytree(whole_file.parent, tmp_path / "copy")) / whole_file.name
    main = path / "model.safetensors" if path.is_dir() else path
    whole = main.read_bytes()
    for content in (whole[: len(whole) // 2], b"no model at all", b""):
        main.write_bytes(content)
        with pytest.raises(UserError, match=r"^[^\n]*was not written by Darkroom[^\n]*$"):
            build_format(name).open(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "aoti" and build_format(name).holds.half])
def test_half_a_file_still_resizes_exactly(name: str, written: Written) -> None:
    path, deployed, facts = written(name, half=True)
    opened = build_format(name).open(path, threads=1)
    assert opened.facts == facts
    size = (40, 30) if facts.any_size else PREPROCESS.image_size
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    with torch.inference_mode():
        expected = deployed.answering(fit_images(torch.from_numpy(images), *PREPROCESS.image_size, PREPROCESS.resize))
    probabilities = expected[0] if isinstance(expected, tuple) else expected
    np.testing.assert_allclose(opened.run(images)[0], probabilities.numpy(), atol=2e-3)


@pytest.mark.parametrize("name", ["torchscript", "torch_export", "onnx"])
def test_the_values_on_the_way_can_be_seen(name: str, written: Written) -> None:
    path, deployed, _ = written(name)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 40, 30), dtype=np.uint8)
    inner = list(build_format(name).inner_values(path, images))
    for layer, value in deployed.stages(torch.from_numpy(images)):
        same = [each for each in inner if each.size == value.numel() and np.allclose(each.ravel(), value.numpy().ravel(), atol=1e-4)]
        assert same, layer


def test_the_mean_of_the_class_map_is_the_logits(map_net: Backbone) -> None:
    from applications.formats.deployed import Core

    x = torch.randn(2, 3, 24, 16)
    with torch.no_grad():
        logits, features, cam = Core(map_net, features=True, cam=True)(x)
    assert cam.shape == (2, 3, 6, 4)
    torch.testing.assert_close(cam.mean((2, 3)), logits)
    torch.testing.assert_close(map_net.get_classifier()(features), logits)


def test_class_tokens_reach_the_head_of_what_is_exported() -> None:
    from applications.formats.deployed import Core

    net = build_model("vit_tiny_patch16_224", num_classes=3).eval()
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        logits, features = Core(net, features=True)(x)
        torch.testing.assert_close(logits, net(x))
        torch.testing.assert_close(net.get_classifier()(features), logits)
        with pytest.raises(ValueError, match="class tokens"):
            Core(net, cam=True)(x)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["vit_tiny_patch16_224", "cait_xxs24_224", "swin_tiny_patch4_window7_224", "convnextv2_atto"])
def test_onnx_holds_transformers_at_a_size_that_is_not_theirs(arch: str) -> None:
    import io

    import onnxruntime

    net = build_model(arch, num_classes=3).eval()
    x = torch.randn(2, 3, 64, 96)
    content = io.BytesIO()
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(net, (x[:1].repeat(3, 1, 1, 1),), dynamo=True, dynamic_shapes=(batch,), verbose=False)
    assert program is not None
    program.save(content)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(answer, net(x).numpy(), atol=1e-4)


def test_facts_come_back_from_json() -> None:
    facts = Facts("resnet18", "multilabel", ("a", "b"), Preprocess(white=4095), "sigmoid", 0.5, thresholds=(0.5, 0.25), versions={"x": "1"})
    assert Facts.from_json(facts.to_json()) == facts


def test_a_file_of_a_later_version_is_named_as_such() -> None:
    text = Facts("resnet18", "classify", ("a", "b"), Preprocess(), "softmax").to_json().replace('"format": 1', '"format": 2')
    with pytest.raises(UserError, match="later Darkroom"):
        Facts.from_json(text)


def test_a_missing_runtime_is_answered_with_the_line_for_pip() -> None:
    with pytest.raises(UserError, match=r"the format fast needs no-such-runtime, about 1 MB: pip install no-such-runtime$"):
        check_installed("fast", (Package("numpy", "numpy", 1), Package("no_such_runtime", "no-such-runtime", 1)))


@pytest.mark.parametrize("name", ["torchscript", "onnx", "hub"])
def test_a_file_is_read_back_as_a_module_of_probabilities(name: str, written: Written) -> None:
    path, deployed, facts = written(name)
    assert is_exported(str(path))
    exported = load_exported(path, torch.device("cpu"))
    assert (exported.classes, exported.preprocess, exported.temperature) == (facts.classes, facts.preprocess, 1.7)
    assert exported.target is Label
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 40, 30), dtype=np.uint8))
    with torch.inference_mode():
        expected = deployed.answering(fit_images(images, *PREPROCESS.image_size, PREPROCESS.resize))
        probabilities = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(exported.module(images), probabilities, atol=1e-5, rtol=0)
        # Mixed images are no whole numbers.
        torch.testing.assert_close(exported.module(images.float()), probabilities, atol=1e-3, rtol=0)


def test_a_checkpoint_is_no_exported_file(tmp_path: Path) -> None:
    torch.save({"format": 1}, tmp_path / "best.pt")
    assert not is_exported(str(tmp_path / "best.pt"))
    assert not is_exported(str(tmp_path))
    assert not is_exported(str(tmp_path / "none.onnx"))


def test_a_file_never_names_code_that_is_run(written: Written, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nNet = Task = None\n")
    facts = Facts("resnet18", "classify", ("a", "b"), Preprocess(), "softmax")
    with pytest.raises(ValueError, match="does not name code"):
        Facts.from_json(replace(facts, task=f"{code}:Task").to_json())
    path, _, _ = written("hub")
    folder = Path(shutil.copytree(path, tmp_path / "copy-hub"))
    content = json.loads((folder / "config.json").read_text())
    content["darkroom"]["arch"], content["timm"] = f"{code}:Net", False
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged"):
        build_format("hub").open(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("opset", [18, 20])
def test_onnx_is_written_in_the_version_that_is_asked_for(opset: int, map_net: Backbone) -> None:
    facts = Facts("net", "classify", tuple("abc"), PREPROCESS, "softmax", any_size=False)
    deployed = deploy(map_net, PREPROCESS, "softmax", arch="net", any_size=False)
    assert opset_of(to_onnx(deployed, facts, opset=opset)[0]) == opset
    with pytest.raises(UserError, match=r"--opset 99: net cannot be written in that version; take \d+, or leave it out"):
        to_onnx(deployed, facts, opset=99)


def test_a_package_that_a_format_needs_twice_is_named_once() -> None:
    with pytest.raises(UserError, match=r"needs no-such-runtime, about 1 MB: pip install no-such-runtime$"):
        check_installed("fast", (Package("no_such_runtime", "no-such-runtime", 1),) * 2)


def test_a_network_that_executorch_cannot_hold_is_refused_in_one_line(
    map_net: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise TypeError("no kernel for it\nat some place")

    monkeypatch.setattr("applications.formats.executorch._lowered", fail)
    deployed = deploy(map_net, PREPROCESS, "softmax", arch="net", any_size=False)
    facts = Facts("net", "classify", tuple("abc"), PREPROCESS, "softmax", any_size=False)
    with pytest.raises(UserError, match=r"^ExecuTorch cannot hold net \(no kernel for it\); take another format$"):
        build_format("executorch").write(deployed, tmp_path / "m.pte", facts, WriteSettings())
    assert not list(tmp_path.iterdir())
