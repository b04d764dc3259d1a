"""What --predict leaves: whole tables of what was answered, also after Ctrl-C, and nothing where nothing was answered."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from applications.prediction import answer_inputs as walk
from applications.prediction import label_files
from applications.prediction.box_files import BoxWriter
from applications.prediction.defects import DefectWriter
from applications.prediction.label_files import ImageAnswer, LabelWriter
from applications.prediction.masks import MaskWriter
from applications.settings.options import RunConfig
from applications.tasks.anomaly import DefectAnswer
from applications.tasks.box_answers import BoxAnswer
from applications.tasks.label_answers import LabelAnswer
from utils.errors import UserError

NAMES = ("cat", "dog")
PICTURE = np.full((24, 32, 3), 90, np.uint8)
LOOK, NOTHING = RunConfig().look, None


def boxes(folder: Path) -> tuple[Any, Callable[[str], None]]:
    writer = BoxWriter(folder, NAMES, annotate=True)
    said = BoxAnswer(np.array([[1, 2, 20, 20]], np.float32), np.array([0.9], np.float32), np.array([1]))
    return writer, lambda name: writer.add(name, PICTURE, said)


def masks(folder: Path) -> tuple[Any, Callable[[str], None]]:
    writer = MaskWriter(folder, NAMES)
    said = np.zeros((24, 32), np.uint8)
    said[:, 10:] = 1
    return writer, lambda name: writer.add(name, PICTURE, said)


def defects(folder: Path) -> tuple[Any, Callable[[str], None]]:
    writer, heat = DefectWriter(folder, 0.5), np.zeros((24, 32), np.float32)
    heat[4:9, 4:9] = 0.8
    return writer, lambda name: writer.add(name, PICTURE, DefectAnswer(0.8, heat, True))


def labels(folder: Path) -> tuple[Any, Callable[[str], None]]:
    writer = LabelWriter(folder, NAMES, LOOK, reject=None, source="best.pt")
    said = LabelAnswer(np.array([0.3, 0.7]), np.array([False, True]))
    return writer, lambda name: writer.add(ImageAnswer(name, said), None)


TABLES = {boxes: "boxes.csv", masks: "areas.csv", defects: "predictions.csv", labels: "predictions.csv"}


@pytest.fixture(params=list(TABLES), ids=lambda each: each.__name__)
def writing(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Callable[[str], None], Path]:
    folder = tmp_path / "predict"
    folder.mkdir()
    return *request.param(folder), folder / TABLES[request.param]


def walked(monkeypatch: pytest.MonkeyPatch, inputs: Callable[..., Iterator[str]], writer: Any, answer: Callable[[str], None]) -> int:
    monkeypatch.setattr(walk, "read_inputs", inputs)
    nothing: Any = NOTHING
    return walk.answer_inputs(nothing, nothing, LOOK, nothing, writer, answer)  # pyright: ignore[reportArgumentType]


def names_in(table: Path) -> set[str]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.get("image") or row["path"] for row in rows}


def test_what_was_answered_before_an_interruption_is_in_whole_tables(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, answer, table = writing

    def inputs(*_: Any) -> Iterator[str]:
        yield "film.mp4#0.00"
        yield "film.mp4#1.00"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walked(monkeypatch, inputs, writer, answer)
    assert names_in(table) == {"film.mp4#0.00", "film.mp4#1.00"}
    for file in table.parent.glob("*.json"):
        assert len(json.loads(file.read_text(encoding="utf-8"))["images"]) == 2


def test_an_interruption_before_the_first_answer_leaves_nothing(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, answer, table = writing

    def inputs(*_: Any) -> Iterator[str]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        walked(monkeypatch, inputs, writer, answer)
    assert not table.parent.exists()


def test_an_interruption_between_copies_leaves_each_in_the_table_with_its_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LabelWriter(tmp_path, NAMES, replace(LOOK, annotate=True, embed=True), reject=None, source="best.pt")
    said = LabelAnswer(np.array([0.3, 0.7]), np.array([False, True]))
    drawn = label_files.annotated

    def interrupted(*given: Any) -> Any:
        if len(list(tmp_path.glob("annotated/*"))) == 2:
            raise KeyboardInterrupt
        return drawn(*given)

    monkeypatch.setattr(label_files, "annotated", interrupted)

    def answer(name: str) -> None:
        for row in range(2):
            writer.add(ImageAnswer(f"{name}-{row}.png", said, np.full(3, float(row))), PICTURE)

    with pytest.raises(KeyboardInterrupt):
        walked(monkeypatch, lambda *_: iter(["a", "b"]), writer, answer)
    assert [file.name for file in sorted(tmp_path.glob("annotated/*.jpg"))] == ["00001-a-0.jpg", "00002-a-1.jpg"]
    assert names_in(tmp_path / "predictions.csv") == {"a-0.png", "a-1.png"}
    with np.load(tmp_path / "features.npz") as file:
        assert (file["paths"].tolist(), file["features"].tolist()) == (["a-0.png", "a-1.png"], [[0.0] * 3, [1.0] * 3])


@pytest.mark.parametrize(
    ("missed", "said"),
    [
        ([("cut.avi", "no frame could be read")], "--predict: cannot read cut.avi: no frame could be read"),
        ([("a.png", "damaged"), ("b.png", "empty")], "--predict: none of 2 images can be read, such as a.png: damaged"),
    ],
)
def test_where_nothing_can_be_read_it_is_said_in_one_line_and_no_table_is_written(
    writing: Any, missed: list[tuple[str, str]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, answer, table = writing

    def inputs(*given: Any) -> Iterator[str]:
        for each in missed:
            given[-1].miss(*each)
        yield from ()

    with pytest.raises(UserError) as raised:
        walked(monkeypatch, inputs, writer, answer)
    assert str(raised.value) == said
    assert not table.exists()


def test_an_unreadable_image_among_others_is_listed(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, answer, table = writing

    def inputs(*given: Any) -> Iterator[str]:
        given[-1].miss("a.png", "damaged")
        yield "b.png"

    assert walked(monkeypatch, inputs, writer, answer) == 1
    assert names_in(table) == {"b.png"}
