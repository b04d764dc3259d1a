"""Observers: what is written for curves, and that a resumed run doubles nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef
from torch import nn

from applications.engine.observers import ChanceWarning, CsvLog, TensorBoard, batchnorm_gammas, describe_row
from applications.progress import Progress
from applications.tasks.classify import Classify
from applications.tasks.label_meter import LabelMeter
from criterions.elementwise import softmax
from criterions.weighted import Criterion
from dataloader.images.preprocess import Preprocess
from models import build_model
from tests.applications.conftest import read_rows
from tests.applications.predicted import predicted
from utils.logs import log
from utils.networks.model_graph import model_graph


def row(epoch: int, loss: float = 1.0) -> dict[str, float]:
    return {
        "epoch": epoch,
        "lr": 0.1,
        "train_loss": loss,
        "train_top1": 0.5,
        "val_loss": 1.0,
        "val_top1": 0.5,
        "images_per_second": 9.0,
        "data_wait": 0.0,
    }


def events(folder: Path) -> list[Event]:
    """Read the event files of a folder, oldest first: a length, a checksum, the record, a checksum."""
    found = []
    for file in sorted(folder.glob("events.*"), key=lambda file: file.stat().st_mtime_ns):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_a_resumed_run_drops_the_rows_after_its_position(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    first = CsvLog(file, 0)
    for epoch in (1, 2, 3):
        first.epoch(Progress(), row(epoch))
    again = CsvLog(file, 1)
    for epoch in (2, 3):
        again.epoch(Progress(), row(epoch, loss=0.5))
    rows = read_rows(file)
    assert [line["epoch"] for line in rows] == ["1", "2", "3"]
    assert [line["train_loss"] for line in rows] == ["1", "0.5", "0.5"]


def test_tensorboard_gets_the_named_curves_and_the_gammas(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    board = TensorBoard(tmp_path, 0, model, resumed=False)
    board.epoch(Progress(), row(1))
    board.close()
    tags = {value.tag for event in events(tmp_path) for value in event.summary.value}
    assert {"Train/Loss", "Train/Accuracy", "Val/Loss", "Val/Accuracy", "Learning_rate", "BN_gamma"} <= tags


def test_tensorboard_purges_the_points_after_the_position(tmp_path: Path) -> None:
    first = TensorBoard(tmp_path, 0, nn.Identity(), resumed=False)
    for epoch in (1, 2, 3):
        first.epoch(Progress(), row(epoch))
    first.close()
    again = TensorBoard(tmp_path, 1, nn.Identity(), resumed=True)
    again.epoch(Progress(), row(2))
    again.close()
    purges = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert purges == [2], "what was written from epoch 2 on is void"


def test_gammas_are_those_of_all_batch_norms() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Linear(2, 2), nn.BatchNorm1d(3), nn.BatchNorm2d(4, affine=False))
    nn.init.constant_(model[2].weight, 2.0)
    assert np.array_equal(batchnorm_gammas(model).numpy(), [1, 1, 2, 2, 2])
    assert batchnorm_gammas(nn.Linear(2, 2)).shape == torch.Size([0])


@pytest.mark.parametrize("text", ["", "epoch,lr\n"])
def test_an_empty_table_is_begun_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(text)
    CsvLog(file, 5).epoch(Progress(), row(6))
    assert [line["epoch"] for line in read_rows(file)] == ["6"]


@pytest.mark.parametrize(
    ("epochs", "warnings"),
    [
        ([(0.3, 0.1), (0.7, 0.1), (0.8, 0.11), (0.9, 0.1)], 1),
        ([(0.7, 0.1), (0.8, 0.5), (0.9, 0.1)], 0),
        ([(0.12, 0.1), (0.15, 0.1), (0.2, 0.1)], 0),
    ],
    ids=["stays at chance", "recovers", "learns nothing"],
)
def test_validation_that_stays_at_chance_while_training_learns_is_warned_about_once(
    epochs: list[tuple[float, float]], warnings: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log(), "propagate", True)
    watcher = ChanceWarning("top1", 0.1, 100)
    for number, (train, val) in enumerate(epochs, start=1):
        watcher.epoch(Progress(), row(number) | {"train_top1": train, "val_top1": val})
    said = "validation is at 11%, and chance is 10% with 10 classes, for 2 epochs while training is at 80%"
    # pytest listens at two loggers when an earlier test has cut them apart; a record is one all the same.
    assert sum(said in text for text in {id(record): record.getMessage() for record in caplog.records}.values()) == warnings


def answered(classes: list[int], targets: list[int]) -> LabelMeter:
    task = Classify(("cat", "dog", "fox"), Criterion(softmax()), Preprocess(image_size=(4, 4)), torch.device("cpu"))
    logits = torch.nn.functional.one_hot(torch.tensor(classes), 3).float()
    return LabelMeter.holding(task, predicted(torch.tensor(targets), logits.sigmoid()))


@pytest.mark.parametrize(
    ("answers", "targets", "train", "epochs", "warned"),
    [
        ([1, 1, 1, 1], [0, 1, 2, 1], 0.7, 9, True),
        ([1, 1, 1, 1], [0, 1, 2, 1], 0.5, 9, False),
        ([1, 1, 1, 1], [0, 1, 2, 1], 0.5, 1, True),
        ([1, 1, 1, 0], [0, 1, 2, 1], 0.7, 9, False),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0.7, 1, False),
    ],
    ids=["training learns", "nothing learned yet", "nothing learned at the end", "two answers", "one class to validate on"],
)
def test_one_answer_for_all_images_is_warned_about_after_a_single_epoch(
    answers: list[int],
    targets: list[int],
    train: float,
    epochs: int,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log(), "propagate", True)
    watcher = ChanceWarning("top1", 1 / 3, epochs)
    watcher.validated(answered(answers, targets))
    watcher.epoch(Progress(), row(1) | {"train_top1": train, "val_top1": 0.5})
    assert ("validation after epoch 1: all 4 images are answered 'dog'" in caplog.text) == warned


def test_what_was_not_measured_is_an_empty_cell_and_no_point(tmp_path: Path) -> None:
    """An epoch that a resumed run only had to validate has no speed."""
    unmeasured = row(1) | {"images_per_second": float("nan"), "data_wait": float("nan")}
    CsvLog(tmp_path / "metrics.csv", 0).epoch(Progress(), unmeasured)
    (line,) = read_rows(tmp_path / "metrics.csv")
    assert (line["images_per_second"], line["data_wait"], line["train_loss"]) == ("", "", "1")
    assert "images/s" not in describe_row(unmeasured, 3, ("loss", "top1"))
    board = TensorBoard(tmp_path, 0, nn.Identity(), resumed=False)
    board.epoch(Progress(), unmeasured)
    board.close()
    tags = {value.tag for event in events(tmp_path) for value in event.summary.value}
    assert "Train/Loss" in tags
    assert "Images per second" not in tags


def test_tensorboard_gets_the_graph_of_the_model_once(tmp_path: Path) -> None:
    model = build_model("efficientnet_b0", num_classes=3).train()
    TensorBoard(tmp_path / "fresh", 0, model, resumed=False).close()
    graphs = [GraphDef.FromString(event.graph_def) for event in events(tmp_path / "fresh") if event.graph_def]
    assert len(graphs) == 1
    nodes = {node.name: node for node in graphs[0].node}
    assert len(nodes) == len(graphs[0].node), "names are unique"
    convolutions = {name.replace(".", "/") for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    assert len(convolutions) > 50
    assert convolutions <= nodes.keys()
    assert all(each in nodes for node in nodes.values() for each in node.input)
    assert all(layer.training for layer in model.modules())
    TensorBoard(tmp_path / "resumed", 1, model, resumed=True).close()
    assert not any(event.graph_def for event in events(tmp_path / "resumed"))


def test_a_network_whose_flow_depends_on_its_input_has_no_graph() -> None:
    class Asks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    assert model_graph(Asks()) is None
