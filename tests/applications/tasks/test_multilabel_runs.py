"""Several labels per image, end to end: train, resume, evaluate, convert, demo."""

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from applications.export import convert
from applications.export.answers import Answers
from applications.export.label_reference import agree
from applications.export.probe import Job
from applications.tasks.multilabel import best_thresholds
from tests.applications.conftest import COLORS, NETS, ROOT, Call, read_rows, start, tiny
from tests.applications.training.test_resume import assert_equal_runs, same, wait_for
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")
BCE = ("--criterion", "bce", "--image_size", 24, 24)
LABELS = sorted(COLORS)


def write_squares(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Write images of colored squares on gray, any of the colors in each, and list.csv; return the list."""
    rng = np.random.default_rng(seed)
    (folder / "my images").mkdir(parents=True)
    rows = [("image", "labels")]
    for number in range(count):
        names = [name for name in LABELS if rng.random() < 0.5]
        pixels = np.full((24, 24, 3), 90.0)
        for place, name in zip(rng.permutation(4).tolist(), names, strict=False):
            top, left = place // 2 * 12 + 1, place % 2 * 12 + 1
            pixels[top : top + 10, left : left + 10] = COLORS[name]
        pixels = np.clip(rng.normal(pixels, 8), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "my images" / f"{number:03d}.png")
        rows.append((f"my images/{number:03d}.png", ";".join(names)))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "list.csv"


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares"), 100)


@pytest.fixture(scope="module")
def unbroken(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with mixup, averaged weights and augmentation."""
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(*tiny(squares, *BCE, *HARD, "--name", "whole"), folder=folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return folder / "runs/multilabel/whole"


HARD = ("--epochs", 6, "-b", 8, "--aug", "flip", "--mixup", "--ema", 0.9)


def names_of(row: dict[str, str], key: str) -> list[str]:
    return [name for name in row[key].split(";") if name]


def test_a_network_learns_the_colors_and_the_run_says_what_it_is(call: Call, squares: Path) -> None:
    outcome = call(*tiny(squares, *BCE, "--epochs", 14, "-b", 8))
    assert outcome.code == 0, outcome.err
    assert outcome.run.parent == Path("runs/multilabel")
    assert "3 labels, several per image; 70 train" in outcome.out
    assert "best val mAP" in outcome.out
    last = read_rows(outcome.run / "metrics.csv")[-1]
    assert float(last["val_mAP"]) > 0.9
    assert {"train_exact", "val_loss", "val_micro_f1", "val_macro_f1", "val_exact"} <= last.keys()
    content = load_checkpoint(outcome.run / "best.pt")
    assert content["task"] == "multilabel"
    saved = read_rows(outcome.run / "split.csv")
    assert len(saved) == 100
    for label in LABELS:
        assert {row["split"] for row in saved if label in row["class"].split(";")} == {"train", "val", "test"}


def test_softmax_is_refused_with_the_remedy(call: Call, squares: Path, tmp_path: Path) -> None:
    outcome = call(*tiny(squares))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "these images have several labels each: add --criterion bce" in outcome.err
    assert not (tmp_path / "runs").exists()
    outcome = call(*tiny(squares, *BCE, "--num_classes", 4))
    assert (outcome.code, "--num_classes 4" in outcome.err) == (2, True)
    outcome = call(*tiny(squares.parent / "lost.csv", *BCE))
    assert (outcome.code, "is not a folder or a list" in outcome.err) == (2, True)


def test_a_list_of_one_class_an_image_is_ordinary_classification(call: Call, colors: Path, tmp_path: Path) -> None:
    rows = [f"{split}/{name}/{number}.png,{name},{split}" for split in ("train", "val") for name in COLORS for number in range(5)]
    (tmp_path / "colors").symlink_to(colors)
    (tmp_path / "colors.csv").write_text("\n".join(["image,class,split", *(f"colors/{row}" for row in rows)]))
    outcome = call(*tiny(tmp_path / "colors.csv", "-b", 5))
    assert outcome.code == 0, outcome.err
    assert "3 classes, one per image; 15 train, 15 val images" in outcome.out
    assert outcome.run.parent == Path("runs/classify")
    outcome = call("--evaluation", "--no_report", "--resume", outcome.run, *ARCH)
    assert outcome.code == 0, outcome.err
    assert "15 val images" in outcome.out


def test_the_thresholds_are_those_of_the_validation_predictions(call: Call, unbroken: Path) -> None:
    outcome = call("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--split", "val")
    assert outcome.code == 0, outcome.err
    folder = unbroken / "evaluation-val"
    rows = read_rows(folder / "predictions.csv")
    truth = np.array([[label in names_of(row, "true") for label in LABELS] for row in rows])
    shares = np.array([[row[label] for label in LABELS] for row in rows], dtype=np.float32)
    saved = load_checkpoint(unbroken / "best.pt")["thresholds"]
    assert saved == pytest.approx(best_thresholds(truth, shares), abs=1e-4)
    assert [float(row["threshold"]) for row in read_rows(folder / "classes.csv")] == pytest.approx(saved, abs=1e-4)
    metrics = json.loads((folder / "metrics.json").read_text())
    found = shares >= np.array(saved)
    assert metrics["exact"] == pytest.approx((found == truth).all(1).mean())
    for row, named in zip(rows, found, strict=True):
        assert names_of(row, "predicted") == [label for label, has in zip(LABELS, named, strict=True) if has]
    best = max(read_rows(unbroken / "metrics.csv"), key=lambda row: (float(row["val_mAP"]), -float(row["val_loss"])))
    assert metrics["mAP"] == pytest.approx(float(best["val_mAP"]), abs=1e-6)


def test_an_average_of_epochs_has_thresholds_of_its_own(call: Call, squares: Path) -> None:
    run = call(*tiny(squares, *BCE, "--epochs", 5, "--swa", 2, "--prior_bias")).run
    contents = {name: load_checkpoint(run / f"{name}.pt") for name in ("swa", "last")}
    for name, content in contents.items():
        call("--evaluation", "--no_report", "--resume", run / f"{name}.pt", *ARCH, "--split", "val")
        rows = read_rows(sorted(run.glob("evaluation-val*"))[-1] / "predictions.csv")
        truth = np.array([[label in names_of(row, "true") for label in LABELS] for row in rows])
        shares = np.array([[row[label] for label in LABELS] for row in rows], dtype=np.float32)
        assert content["thresholds"] == pytest.approx(best_thresholds(truth, shares), abs=1e-5), name
    assert contents["swa"]["thresholds"] != contents["last"]["thresholds"]


def test_the_demo_names_the_labels_of_evaluation(call: Call, unbroken: Path, squares: Path, tmp_path: Path) -> None:
    outcome = call("--jit", "--resume", unbroken, *ARCH)
    assert outcome.code == 0, outcome.err
    call("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--data", squares, "--split", "test")
    rows = {row["path"]: row for row in read_rows(sorted(unbroken.glob("evaluation-test*"))[-1] / "predictions.csv")}
    command = [sys.executable, str(ROOT / "demos" / "classifier.py"), str(unbroken / "model.jit.pt"), *rows, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(rows) > 10
    for answer in answers:
        assert sorted(label["label"] for label in answer["labels"]) == names_of(rows[answer["path"]], "predicted")
        assert "top" not in answer


def test_a_file_that_names_other_labels_is_not_written(call: Call, unbroken: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    honest = convert.ask

    def ask(job: Job) -> Answers:
        answers = honest(job)
        return replace(answers, single=answers.single * 0.9)

    (tmp_path / "best.pt").write_bytes((unbroken / "best.pt").read_bytes())
    monkeypatch.setattr(convert, "ask", ask)
    assert call("--jit", "--resume", tmp_path / "best.pt", *ARCH, "--data", unbroken.parent).code == 2, "that folder is no data"
    outcome = call("--jit", "--resume", tmp_path / "best.pt", *ARCH)
    assert (outcome.code, "answers otherwise" in outcome.out) == (1, True)
    assert not (tmp_path / "model.jit.pt").exists()


def test_agreement_is_counted_by_labels_and_rounding_is_forgiven() -> None:
    expected = torch.tensor([[0.7, 0.2], [0.5, 0.5], [0.5, 0.9]])
    answers = torch.tensor([[0.7, 0.4], [0.499999, 0.5], [0.49, 0.9]])
    assert int(agree(answers, expected, (0.5, 0.5), (0.5, 0.5)).sum()) == 2
    assert int(agree(answers, expected, None, None).sum()) == 2


def test_a_stopped_run_resumes_to_equal_weights_and_thresholds(squares: Path, unbroken: Path, tmp_path: Path) -> None:
    process = start(*tiny(squares, *BCE, *HARD, "--save_minutes", 1e-6, "--name", "broken"), folder=tmp_path)
    broken = tmp_path / "runs/multilabel/broken"
    wait_for(broken, 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert load_checkpoint(broken / "last.pt")["progress"]["epoch"] < 6, "the kill came too late to prove anything"
    again = start("--resume", broken, *ARCH, "--save_minutes", 10, folder=tmp_path)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert_equal_runs(unbroken, broken)
    for name in ("best.pt", "last.pt"):
        first, second = load_checkpoint(unbroken / name), load_checkpoint(broken / name)
        assert first["thresholds"] == second["thresholds"]
        assert same(first["state_dict_ema"], second["state_dict_ema"])


def test_several_processes_count_every_image_once(call: Call, unbroken: Path, tmp_path: Path) -> None:
    call("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--split", "train")
    process = start("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--split", "train", "--nproc", 2, "-b", 6, folder=tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    one, two = (read_rows(unbroken / f"evaluation-train{end}" / "predictions.csv") for end in ("", "-2"))
    assert [(row["path"], row["predicted"]) for row in one] == [(row["path"], row["predicted"]) for row in two]


def test_data_of_another_kind_is_refused_in_one_line(call: Call, unbroken: Path, colors: Path, squares: Path, tmp_path: Path) -> None:
    outcome = call("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--data", colors)
    assert (outcome.code, "class folders" in outcome.err) == (2, True)
    outcome = call("--evaluation", "--no_report", "--resume", unbroken, *ARCH, "--criterion", "softmax")
    assert (outcome.code, "--criterion bce" in outcome.err) == (2, True)
    lines = [f"{squares.parent}/my images/{number:03d}.png,{LABELS[number % 3]}" for number in range(30)]
    (tmp_path / "single.csv").write_text("\n".join(["image,label", *lines]))
    outcome = call("--resume", unbroken, *ARCH, "--data", tmp_path / "single.csv", "--epochs", 9)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
