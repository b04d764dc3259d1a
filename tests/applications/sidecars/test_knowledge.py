"""Distillation from files: what a teacher knows goes through text into the targets of a student."""

import csv
import os
import shlex
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from applications.sidecars.split_predictions import SplitPredictions
from dataloader.images.preprocess import Preprocess
from dataloader.sidecars.format import read_sidecar
from dataloader.splits.split import Split
from tests.applications.conftest import NETS, Call, read_rows, tiny, write_colors
from tests.applications.training.test_resume import assert_equal_runs
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return 24 training images, one with a name that is hard to write down."""
    folder = write_colors(tmp_path / "data", {"train": 8, "val": 3, "test": 3})
    (folder / "train/red/0.png").rename(os.path.join(folder, "train/red", 'a, "b" ü \udcff.png'))
    return folder


@pytest.fixture
def teacher(call: Call, data: Path) -> Path:
    outcome = call(*tiny(data, "--name", "teacher", "--epochs", 3))
    assert outcome.code == 0, outcome.err
    return outcome.run


def know(call: Call, teacher: Path, split: str = "train", *more: object) -> str:
    outcome = call("--knowledge", split, "--resume", teacher, *ARCH, *more)
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_the_knowledge_is_that_of_the_predictions(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher, "test")
    assert call("--evaluation", "--resume", teacher, *ARCH).code == 0
    sidecar = read_sidecar(data / "distill.txt")
    rows = read_rows(teacher / "evaluation-test/predictions.csv")
    assert list(sidecar.columns) == ["blue", "green", "red"]
    assert [str(data / path) for path in sidecar.paths] == [row["path"] for row in rows]
    expected = np.array([[float(row[name]) for name in sidecar.columns] for row in rows])
    assert np.abs(sidecar.values - expected).max() <= 1e-6
    assert sidecar.facts["teacher"] == str((teacher / "best.pt").resolve())
    assert (sidecar.facts["split"], sidecar.facts["activation"]) == ("test", "softmax")
    assert sidecar.facts["preprocess"]["image_size"] == [16, 16]
    labels = read_sidecar(data / "label.txt")
    assert labels.paths == sidecar.paths
    assert [labels.columns[place] for place in labels.values.argmax(1)] == [row["true"] for row in rows]


def test_a_student_learns_from_the_file(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    outcome = call(*tiny(data, "--distill", "--mixup", "--criterion", "bce", "--name", "student"))
    assert outcome.code == 0, outcome.err
    assert "distill   distill.txt" in outcome.out
    assert "warning" not in outcome.out.lower(), "the odd name is found"
    plain = call(*tiny(data, "--mixup", "--criterion", "bce", "--name", "plain"))
    losses = [read_rows(run / "metrics.csv")[0]["train_loss"] for run in (outcome.run, plain.run)]
    assert losses[0] != losses[1]


def test_labels_as_a_teacher_change_nothing(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    (data / "label.txt").rename(data / "distill.txt")
    one, two = call(*tiny(data, "--name", "one")).run, call(*tiny(data, "--distill", "--name", "two")).run
    first, second = (load_checkpoint(run / "last.pt") for run in (one, two))
    assert all((first["state_dict"][name] == value).all() for name, value in second["state_dict"].items())


def test_labels_of_every_split_are_kept(call: Call, data: Path, teacher: Path) -> None:
    for split in ("train", "val", "train"):
        know(call, teacher, split)
    assert sorted(path.name for path in data.glob("label*.txt")) == ["label-2.txt", "label.txt"]
    found = [read_sidecar(data / name) for name in ("label.txt", "label-2.txt")]
    assert [sidecar.facts["split"] for sidecar in found] == ["train", "val"]
    assert [len(sidecar.paths) for sidecar in found] == [len(list((data / split).rglob("*.png"))) for split in ("train", "val")]


def test_the_same_teacher_writes_its_file_anew_and_another_one_beside(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    know(call, teacher)
    assert sorted(path.name for path in data.glob("*.txt")) == ["distill.txt", "label.txt"]
    other = call(*tiny(data, "--seed", 1, "--name", "other")).run
    assert "distill.txt: --distill takes the mean" in know(call, other)
    first, second = read_sidecar(data / "distill.txt"), read_sidecar(data / "distill-2.txt")
    assert first.paths == second.paths
    assert not np.array_equal(first.values, second.values)
    assert "the mean of distill-2.txt" in call(*tiny(data, "--distill")).out


def test_an_exported_file_knows_what_its_model_knows(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    assert call("--jit", "--resume", teacher, *ARCH).code == 0
    assert call("--knowledge", "train", "--resume", teacher / "model.jit.pt").code == 2, "it does not know its images"
    know(call, teacher / "model.jit.pt", "train", "--data", data, "-j", 0)
    first, second = read_sidecar(data / "distill.txt"), read_sidecar(data / "distill-2.txt")
    assert first.paths == second.paths
    assert np.abs(first.values - second.values).max() < 1e-5


def test_an_image_without_knowledge_keeps_its_label_or_stops_a_strict_run(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    shutil.copy(data / "train/red/1.png", data / "train/red/new.png")
    outcome = call(*tiny(data, "--distill"))
    assert outcome.code == 0, outcome.err
    assert "1 of 25 train images are in no" in outcome.out
    assert "train/red/new.png" in outcome.out
    strict = call(*tiny(data, "--distill", "--strict"))
    assert strict.code == 2
    assert "new.png" in strict.err


def test_knowledge_of_other_classes_or_another_order_is_refused(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    with (data / "distill.txt").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    for columns, said in (("path,green,blue,red", "another order"), ("path,blue,green,rose", "without red, with rose")):
        (data / "distill.txt").write_text(text.replace("path,blue,green,red", columns), encoding="utf-8", errors="surrogateescape")
        outcome = call(*tiny(data, "--distill"))
        assert outcome.code == 2
        assert said in outcome.err
        assert outcome.err.count("\n") == 1


def test_knowledge_of_other_images_is_refused(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher, "test")
    outcome = call(*tiny(data, "--distill"))
    assert outcome.code == 2
    assert "know none of the 24 train images" in outcome.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--knowledge", "train"], "--knowledge needs --resume"),
        (["--knowledge", "all", "--resume", "x"], "--knowledge"),
        (["--knowledge", "train", "--resume", "missing"], "missing"),
        (["--knowledge", "train", "--resume", "missing", "--split", "val"], "leave --split out"),
    ],
)
def test_a_mistake_ends_in_one_line(call: Call, argv: list[str], said: str) -> None:
    outcome = call(*argv)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_another_folder_may_hold_the_files(call: Call, data: Path, teacher: Path, tmp_path: Path) -> None:
    side = tmp_path / "a" / "new folder"
    outcome = call(*tiny(data, "--distill", "--sidecar_dir", side))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert f"--knowledge train --resume RUN --sidecar_dir '{side}' makes and fills it" in outcome.err
    assert not side.exists()
    (tmp_path / "file").touch()
    outcome = call("--knowledge", "train", "--resume", teacher, *ARCH, "--sidecar_dir", tmp_path / "file")
    assert (outcome.code, "cannot be made a folder" in outcome.err) == (2, True)
    know(call, teacher, "train", "--sidecar_dir", side)
    assert not list(data.glob("*.txt"))
    assert call(*tiny(data, "--distill", "--sidecar_dir", side)).code == 0


def test_a_weak_teacher_is_doubted_and_the_next_command_works_as_typed(call: Call, data: Path) -> None:
    flat = data / "all"
    shutil.move(data / "train", flat)
    flags = ("--lr", 1e-6, "--epochs", 1, "--resize", "stretch", "--seed", 3, "--val_share", 0.3)
    weak = call(*tiny(flat, "--name", "weak", *flags)).run
    said = know(call, weak)
    assert "warning: the model names only" in said
    command = next(line for line in said.splitlines() if line.startswith("next: python main.py ")).removeprefix("next: python main.py ")
    words = shlex.split(command)
    shown = ("--image_size", "16", "16", "--resize", "stretch", "--val_share", "0.3", "--seed", "3", "--distill")
    assert words == ["--data", str(flat), *shown, "--arch", "mobilenetv3_small"]
    small = ("-j", 0, "-b", 10, "--epochs", 1, "--precision", "fp32")
    outcome = call(*words, *small)
    assert outcome.code == 0, outcome.err
    assert "keep their labels" not in outcome.out, "the student has the split of its teacher"
    said = call("--make_curriculum", "train", "--resume", weak, *ARCH).out
    assert "warning: the model names only" in said
    assert "--resize stretch --val_share 0.3 --seed 3 --curriculum_learning" in said


def test_a_doubt_knows_what_chance_is() -> None:
    def doubt(targets: list, rows: list[list[float]]) -> str:
        split = Split("train", Path(), tuple(map(str, range(len(rows)))), np.array(targets))
        return SplitPredictions(Path(), Path(), "", split, ("a", "b"), np.array(rows, np.float32), "softmax", Preprocess()).doubt()

    assert doubt([0, 1, 0, 1], [[0.9, 0.1], [0.1, 0.9]] * 2) == ""
    assert "only 50.0% of these images rightly (the most frequent class alone would be 50.0%)" in doubt([0, 1], [[0.9, 0.1]] * 2)
    assert "would be 80.0%" in doubt([0] * 4 + [1], [[0.9, 0.1]] * 5), "right often, but never more than chance"
    several = [[1.0, 0.0], [0.0, 1.0]] * 2
    assert doubt(several, [[0.9, 0.1], [0.1, 0.9]] * 2) == ""
    assert "mAP of only 50.0%" in doubt(several, [[0.5, 0.5]] * 4)
    assert doubt([[0.0, 0.0]] * 2, [[0.5, 0.5]] * 2) == ""


def test_a_fold_that_the_teacher_does_not_know_is_refused(call: Call, data: Path, teacher: Path) -> None:
    outcome = call("--knowledge", "train", "--resume", teacher, *ARCH, "--fold", "0/3")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "was trained without folds" in outcome.err
    folded = call(*tiny(data, "--name", "folded", "--fold", "1/3")).run
    assert "--fold 1/3 --distill" in know(call, folded, "train", "--fold", "1/3")
    assert "was trained with --fold 1/3" in call("--knowledge", "train", "--resume", folded, *ARCH, "--fold", "0/3").err
    assert call("--jit", "--resume", teacher, *ARCH).code == 0
    exported = teacher / "model.jit.pt"
    assert "does not know the folds" in call("--knowledge", "train", "--resume", exported, "--data", data, "--fold", "0/3").err
    with zipfile.ZipFile(exported) as old, zipfile.ZipFile(teacher / "bad.jit.pt", "w") as new:
        for item in old.infolist():
            content = old.read(item)
            new.writestr(item, content.replace(b'"temperature"', b'"temperatura"') if item.filename.endswith(".json") else content)
    outcome = call("--knowledge", "train", "--resume", teacher / "bad.jit.pt", "--data", data, "-j", 0)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome.err
    assert "damaged or incomplete" in outcome.err


def test_several_labels_are_taught_with_sigmoids(call: Call, data: Path) -> None:
    images = [
        (f"{split}/{color}/{number}.png", color, split) for split in ("train", "val") for color in ("green", "blue") for number in (1, 2)
    ]
    with (data / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "labels", "split"), *((path, f"{color};all", split) for path, color, split in images)])
    flags = tiny(data / "list.csv", "--criterion", "bce")
    run = call(*flags).run
    know(call, run)
    sidecar = read_sidecar(data / "distill.txt")
    assert (sidecar.columns, sidecar.facts["activation"]) == (("all", "blue", "green"), "sigmoid")
    assert call("--jit", "--resume", run, *ARCH).code == 0
    outcome = call(*flags, "--distill", "--teacher", run, run / "model.jit.pt")
    assert outcome.code == 0, outcome.err
    assert call("--make_curriculum", "train", "--resume", run, *ARCH).code == 0


def test_a_distilled_run_resumes_exactly(call: Call, data: Path, teacher: Path) -> None:
    know(call, teacher)
    flags = tiny(data, "--distill", "--mixup", "--epochs", 4)
    whole, broken = call(*flags, "--name", "whole").run, call(*flags, "--name", "broken", "--max_minutes", 1e-9).run
    assert load_checkpoint(broken / "last.pt")["progress"]["step"] < load_checkpoint(whole / "last.pt")["progress"]["step"]
    outcome = call("--resume", broken, *ARCH)
    assert outcome.code == 0, outcome.err
    assert_equal_runs(whole, broken)
    with (data / "distill.txt").open("a") as file:
        file.write("train/red/ghost.png,1,0,0\n")
    outcome = call("--resume", broken, *ARCH, "--epochs", 5)
    assert "1 images that the data does not have, such as train/red/ghost.png" in outcome.out
