"""Files beside the images: numbers and names survive, mistakes are named by file and line."""

import os
from pathlib import Path

import numpy as np
import pytest

from dataloader.sidecars.curriculum_file import read_curriculum, with_curriculum
from dataloader.sidecars.format import check_classes, read_facts, read_sidecar, write_sidecar
from dataloader.sidecars.knowledge_file import find_knowledge, read_knowledge, with_knowledge
from dataloader.splits.split import Split
from utils.errors import UserError

NAMES = [
    "a/1.png",
    "with, comma.png",
    'with "quotes".png',
    "naïve ü 猫.png",
    os.fsdecode(b"broken \xff.png"),
    "two\nlines\r.png",
    "#1.png",
    " ",
]


def test_names_and_numbers_survive_the_way_through_the_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((len(NAMES), 3)).astype(np.float32)
    facts = {"teacher": "a\nb: # ü\udcff", "split": "train", "preprocess": {"mean": [0.5]}}
    write_sidecar(tmp_path / "distill.txt", ["cat, big", 'a "dog"', "#3"], NAMES, values, facts=facts)
    read = read_sidecar(tmp_path / "distill.txt")
    assert read.paths == tuple(NAMES)
    assert read.columns == ("cat, big", 'a "dog"', "#3")
    assert read.facts == facts == read_facts(tmp_path / "distill.txt")
    assert (read.values.astype(np.float32) == values).all(), "every digit of float32 comes back"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "distill.txt"], "nothing temporary is left"


def written(folder: Path, text: str, name: str = "distill.txt") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_file_from_another_editor_is_read(tmp_path: Path) -> None:
    file = tmp_path / "curriculum.txt"
    file.write_bytes(b"\xef\xbb\xbf# my own notes\r\npath,weight\r\na.png,1\r\n\r\nb.png,0.5\r\n")
    assert read_curriculum(file).values.tolist() == [[1.0], [0.5]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,a,b\nx,1,0\ny,0.5,0.4\n", "line 3: y: the probabilities sum to 0.9, not to 1"),
        ("# teacher: t\npath,a,b\nx,1,0\nx,0,1\n", "line 4: x is listed twice, first in line 3"),
        ("path,a,b\nx,1\n", "line 2: 2 cells where the header has 3"),
        ("path,a,b\nx,1,0,0\n", "line 2: 4 cells"),
        ("path,a,b\nx,1.5,-0.5\n", "line 2: x: a probability lies outside"),
        ("path,a,b\nx,one,0\n", "line 2: 'one' is not a number for a"),
        ("path,a,b\nx,nan,1\n", "line 2: 'nan' is not a number"),
        ("x,one,0\n", "line 1: the first line"),
        ("# only: facts\n", "line 2: the first line"),
        ("", "line 1: the first line"),
        ("path,a,b\n", "lists no images"),
        ('path,a,b\n"x"y,1,0\n', "line 2: "),
        ("path,b,a\nx,1,0\n", "another order"),
        ("path,a,c\nx,1,0\n", "other classes than this data has: without b, with c"),
        ("path,a,b,b\nx,1,0,0\n", "named twice"),
        ('# activation: "tanh"\npath,a,b\nx,1,0\n', "'tanh'"),
        ('# activation: "sigmoid"\npath,a,b\nx,0,0\n', "line 3: x: the probabilities sum to 0"),
        ('# activation: "sigmoid"\npath,a,b\nx,0,1.2\n', "line 3: x: a probability lies outside"),
    ],
)
def test_a_mistake_in_knowledge_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_knowledge(written(tmp_path, text), ["a", "b"], competing=True)
    assert said in str(caught.value)
    assert "distill.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,weight\nx,1\ny,-2\n", "line 3: y: the weight is -2"),
        ("path,weight\nx,0\ny,0\n", "no weight is positive"),
        ("path,a,b\nx,1,0\n", "is not a curriculum"),
        ("path,weight\nx,1\n\ny,1\nx,1\n", "line 5: x is listed twice"),
        ('path,weight\nx,1\n"y,1\nz,1\nw,1\n', "line 3: unexpected end of data"),
        ('path,weight\n"x\ny",1\nz,one\n', "line 4: 'one' is not a number"),
        ("path,weight\nx,1\n# a note, here\n", "line 3: ' here' is not a number for weight; comments belong above"),
        ("path,weight\nx,1\n# a note\n", "line 3: 1 cell where the header has 2; comments belong above"),
        ("path,weight\nx,1_0\n", "line 2: '1_0' is not a number"),
    ],
)
def test_a_mistake_in_a_curriculum_is_named_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_curriculum(written(tmp_path, text, "curriculum.txt"))


def test_spaces_in_the_header_of_a_curriculum_are_forgiven(tmp_path: Path) -> None:
    assert read_curriculum(written(tmp_path, "path, weight\nx, 0.5\n", "curriculum.txt")).values.tolist() == [[0.5]]


def test_missing_files_say_what_writes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--knowledge train"):
        find_knowledge(tmp_path)
    with pytest.raises(UserError, match="--make_curriculum train"):
        read_curriculum(tmp_path / "curriculum.txt")


def split_of(*paths: str) -> Split:
    return Split("train", Path("/data"), paths, np.arange(len(paths)) % 2)


def test_teachers_are_averaged_and_an_unknown_image_keeps_its_label(tmp_path: Path) -> None:
    one = read_knowledge(written(tmp_path, "path,a,b\nx,1,0\ny,0.5,0.5\n"), ["a", "b"], competing=True)
    two = read_knowledge(written(tmp_path, "path,a,b\nz,0,1\nx,0.5,0.5\n", "distill-2.txt"), ["a", "b"], competing=True)
    split, missing = with_knowledge(split_of("x", "y", "w"), [one, two], 2)
    assert split.targets.dtype == np.float32
    assert split.targets.tolist() == [[0.75, 0.25], [0.5, 0.5], [1, 0]]
    assert missing == ["w"]


def test_a_sigmoid_teacher_is_scaled_where_classes_compete_alone(tmp_path: Path) -> None:
    file = written(tmp_path, '# activation: "sigmoid"\npath,a,b\nx,0.9,0.3\n')
    assert read_knowledge(file, ["a", "b"], competing=True).probabilities[0] == pytest.approx([0.75, 0.25])
    assert read_knowledge(file, ["a", "b"], competing=False).probabilities[0] == pytest.approx([0.9, 0.3])


def test_one_label_a_teacher_is_no_teacher_of_several(tmp_path: Path) -> None:
    file = written(tmp_path, '# activation: "softmax"\npath,a,b\nx,0.9,0.1\n')
    with pytest.raises(UserError, match="one label per image"):
        read_knowledge(file, ["a", "b"], competing=False, multi_label=True)


def test_an_unlisted_image_weighs_nothing_and_weights_multiply(tmp_path: Path) -> None:
    curriculum = read_curriculum(written(tmp_path, "path,weight\nz,3\nx,0.5\n", "curriculum.txt"))
    split = split_of("x", "y", "z")
    split, missing = with_curriculum(Split(split.name, split.root, split.paths, split.targets, np.array([2, 1, 1], np.float32)), curriculum)
    assert split.weights.tolist() == [1.0, 0.0, 3.0]
    assert missing == ["y"]
    with pytest.raises(UserError, match="no train image a positive weight"):
        with_curriculum(split_of("q"), curriculum)


def test_equal_classes_pass() -> None:
    check_classes(["a", "b"], ("a", "b"), source="x")


@pytest.mark.parametrize("mark", [" ", ",", "\t"])
def test_weights_without_a_header_are_read_and_said_to_be(tmp_path: Path, mark: str, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path, f"# by hand\na/my cat.png{mark}1\n\nb.png{mark}0.25\n", "curriculum.txt")
    with caplog.at_level("INFO"):
        curriculum = read_curriculum(file)
    assert curriculum.paths == ("a/my cat.png", "b.png")
    assert curriculum.values.tolist() == [[1.0], [0.25]]
    assert "curriculum.txt has no header: its lines are read as path and weight" in caplog.text


def test_probabilities_without_a_header_are_those_of_the_classes_in_their_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path, "a.png 0.25 0.75\nb.png 1 0\n")
    with caplog.at_level("INFO"):
        knowledge = read_knowledge(file, ["cat", "dog"], competing=True)
    assert knowledge.probabilities.tolist() == [[0.25, 0.75], [1, 0]]
    assert "read as the classes in their order, cat, dog" in caplog.text
    with pytest.raises(UserError, match="was made for other classes"):
        read_knowledge(file, ["cat", "dog", "yak"], competing=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.png 1\nb.png\n", "line 2: 1 cell where the first line has 2"),
        ("a.png 1\nb.png x\n", "line 2: 'x' is not a number for weight"),
        ("a.png 1\na.png 2\n", "line 2: a.png is listed twice, first in line 1"),
        ("a.png one\n", "line 1: the first line that is not a comment must be path,weight"),
    ],
)
def test_mistakes_in_a_file_without_a_header_are_named_by_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_curriculum(written(tmp_path, text, "curriculum.txt"))
    assert said in str(caught.value)
