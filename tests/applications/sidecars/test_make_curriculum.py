"""Curricula: weights by the certainty of a model, by hand, or by the running loss."""

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from applications.engine.run_length import RunLength
from applications.objectives.self_paced import SelfPacedWeights
from applications.progress import Progress
from applications.sidecars.make_curriculum import kept_copy
from dataloader.loading.self_paced import SelfPaced
from dataloader.sample import Batch
from dataloader.sidecars.format import read_sidecar
from tests.applications.conftest import NETS, Call, read_rows, tiny, write_colors
from tests.applications.training.test_resume import assert_equal_runs, same
from utils.checkpoint import load_checkpoint
from utils.distributed import World
from utils.errors import UserError

ARCH = ("--arch", f"{NETS}:TinyNet")
COURSES = ("--curriculum_thresholds", 0.6, 0.4, 0.2, "--curriculum_weights", 1, 0.5, 0.1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_colors(tmp_path / "data", {"train": 8, "val": 3})


@pytest.fixture
def model(call: Call, data: Path) -> Path:
    return call(*tiny(data, "--name", "model", "--epochs", 3)).run


def test_every_image_gets_the_weight_of_its_course(call: Call, data: Path, model: Path) -> None:
    outcome = call("--make_curriculum", "train", "--resume", model, *ARCH, *COURSES)
    assert outcome.code == 0, outcome.err
    assert call("--evaluation", "--resume", model, *ARCH, "--split", "train").code == 0
    sidecar = read_sidecar(data / "curriculum.txt")
    assert sidecar.facts["thresholds"] == [0.6, 0.4, 0.2]
    found = dict(zip(sidecar.paths, sidecar.values[:, 0].tolist(), strict=True))
    rows = read_rows(model / "evaluation-train/predictions.csv")
    assert len(found) == len(rows) == 24
    for row in rows:
        p = float(row[row["true"]])
        weight = 1 if p > 0.6 else 0.5 if p > 0.4 else 0.1 if p > 0.2 else 0
        assert found[str(Path(row["path"]).relative_to(data))] == weight


def test_the_summary_adds_up_and_shows_pictures(call: Call, model: Path) -> None:
    outcome = call("--make_curriculum", "train", "--resume", model, *ARCH, *COURSES)
    folder = model / "curriculum-train"
    rows = read_rows(folder / "courses.csv")
    assert sum(int(row["images"]) for row in rows) == 24
    assert "course 1" in outcome.out
    page = (folder / "curriculum.html").read_text(encoding="utf-8")
    for number, row in enumerate(rows, start=1):
        picture = folder / f"course-{number}.png"
        assert picture.is_file() == (int(row["images"]) > 0)
        if picture.is_file():
            with Image.open(picture) as image:
                assert image.width > 100
            assert row["course"].capitalize() in page
    assert call("--make_curriculum", "train", "--resume", model, *ARCH).code == 0
    assert (model / "curriculum-train-2").is_dir(), "pictures are never overwritten"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--curriculum_thresholds", 0.5, 0.1, "--curriculum_weights", 1), "one weight for each threshold"),
        (("--curriculum_thresholds", 0.5), "one weight for each threshold"),
        (("--curriculum_thresholds", 0.1, 0.5, "--curriculum_weights", 1, 0.5), "the largest first"),
        (("--curriculum_thresholds", 0.5, 0.5, "--curriculum_weights", 1, 0.5), "the largest first"),
        (("--curriculum_thresholds", 1.5, 0.5, "--curriculum_weights", 1, 0.5), "from 0 up to"),
        (("--curriculum_thresholds", 0.5, 0.1, "--curriculum_weights", 0.5, 1), "the largest first"),
        (("--curriculum_thresholds", 0.5, 0.1, "--curriculum_weights", 0, 0), "no weight is positive"),
        (("--curriculum_thresholds", 0.5, 0.1, "--curriculum_weights", 1, -1), "0 or more"),
        (("--curriculum_thresholds", 0.5, 0.1, "--curriculum_weights", 1, "nan"), "0 or more"),
        (("--curriculum_thresholds", 0.9999999, "--curriculum_weights", 1), "lower --curriculum_thresholds"),
    ],
)
def test_courses_that_cannot_be_are_refused_and_nothing_is_touched(
    call: Call, data: Path, model: Path, flags: tuple[object, ...], said: str
) -> None:
    (data / "curriculum.txt").write_text("mine")
    before = sorted(model.iterdir())
    outcome = call("--make_curriculum", "train", "--resume", model, *ARCH, *flags)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert (data / "curriculum.txt").read_text() == "mine"
    assert sorted(model.iterdir()) == before


def test_a_curriculum_needs_a_model(call: Call) -> None:
    assert "--make_curriculum needs --resume" in call("--make_curriculum", "train").err


def weigh(data: Path, weight_of) -> None:
    with (data / "curriculum.txt").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "weight"])
        for image in sorted((data / "train").rglob("*.png")):
            if (weight := weight_of(image)) is not None:
                writer.writerow([image.relative_to(data).as_posix(), weight])


def test_weights_multiply_the_loss(call: Call, data: Path) -> None:
    flags = tiny(data, "--opt", "sgd", "--epochs", 1)
    plain = call(*flags, "--name", "plain").run
    weigh(data, lambda _: 1)
    ones = call(*flags, "--curriculum_learning", "--name", "ones").run
    weigh(data, lambda _: 0.5)
    halves = call(*flags, "--lr", 0.04, "--weight_decay", 0, "--curriculum_learning", "--name", "halves").run
    unweighted = call(*flags, "--weight_decay", 0, "--name", "unweighted").run
    first, second = (load_checkpoint(run / "last.pt")["state_dict"] for run in (plain, ones))
    assert same(first, second), "weights of one change nothing"
    first, second = (load_checkpoint(run / "last.pt")["state_dict"] for run in (halves, unweighted))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=f"half the loss at twice the rate is the same step: {name}")


def test_images_that_are_not_listed_are_counted_and_weigh_nothing(call: Call, data: Path) -> None:
    weigh(data, lambda image: 1 if image.parent.name == "red" else None)
    outcome = call(*tiny(data, "--curriculum_learning"))
    assert outcome.code == 0, outcome.err
    assert "16 of 24 train images are not in" in outcome.out
    assert "33.3% of the train images count" in outcome.out


def test_a_mistake_in_the_file_is_named_by_line(call: Call, data: Path) -> None:
    outcome = call(*tiny(data, "--curriculum_learning"))
    assert outcome.code == 2
    assert "--make_curriculum train" in outcome.err
    assert "--make_curriculum train" in call(*tiny(data, "--find_lr", "--curriculum_learning", action="find_lr")).err, (
        "rates are tried on what is trained"
    )
    weigh(data, lambda image: "much" if image.name == "0.png" else 1)
    outcome = call(*tiny(data, "--curriculum_learning"))
    assert outcome.code == 2
    assert "curriculum.txt, line 2: 'much' is not a number for weight" in outcome.err


def test_self_paced_training_counts_more_images_every_epoch(call: Call, data: Path) -> None:
    outcome = call(*tiny(data, "--curriculum", "selfpaced(start=0.3, until=0.9)", "--epochs", 4))
    assert outcome.code == 0, outcome.err
    counted = [float(row["train_counted"]) for row in read_rows(outcome.run / "metrics.csv")]
    assert counted[0] == 1
    assert counted[1] == pytest.approx(0.5, abs=0.05)
    assert counted[1] < counted[2] < counted[3] <= 1


def test_a_paced_run_with_a_curriculum_resumes_exactly(call: Call, data: Path) -> None:
    weigh(data, lambda image: 0.5 + 0.1 * int(image.stem))
    flags = tiny(data, "--curriculum_learning", "--curriculum", "selfpaced(0.3)", "--epochs", 4, "--aug", "flip", "--sam")
    whole = call(*flags, "--name", "whole").run
    broken = call(*flags, "--name", "broken", "--max_minutes", 1e-9).run
    for _ in range(9):
        outcome = call("--resume", broken, *ARCH, "--max_minutes", 1e-9)
        assert outcome.code == 0, outcome.err
    assert load_checkpoint(broken / "last.pt")["progress"]["epoch"] == 4 or call("--resume", broken, *ARCH).code == 0
    assert_equal_runs(whole, broken)
    first, second = (load_checkpoint(run / "last.pt")["teaching"]["pace"] for run in (whole, broken))
    assert first["losses"][:-1].isfinite().all()
    assert (first["losses"].nan_to_num() == second["losses"].nan_to_num()).all()
    assert same(first["weights"], second["weights"])


class Crowd(World):
    """Two processes in one: the other one says of images two places further that their loss is one higher."""

    def gather_tensors(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return [tensor, tensor + (tensor[0] >= 0) * torch.tensor([[2.0], [1.0]])]


def test_the_pace_counts_all_processes_and_short_batches() -> None:
    progress = Progress()
    pace = SelfPacedWeights(
        SelfPaced(),
        images=4,
        progress=progress,
        done=lambda: RunLength(2).done(progress),
        part=2,
        world=Crowd(0, 2),
        device=torch.device("cpu"),
    )
    pace.update(torch.tensor([0]), torch.tensor([3.0]))
    assert pace.losses.nan_to_num(-1).tolist() == [3, -1, 4, -1, -1], "a place that is filled up counts for nothing"
    pace.update(torch.tensor([1, 0]), torch.tensor([1.0, 5.0]))
    assert pace.losses.nan_to_num(-1).tolist() == [4, 1, 5, 2, -1]
    progress.epoch = 1
    batch = Batch(torch.zeros(3, 3, 4, 4), torch.tensor([0, 1, 1]), torch.tensor([0.5, 2.0, 1.0]), torch.tensor([1, 2, 3]))
    assert pace.transform(batch, 7, 0).weights.tolist() == [0.5, 0.0, 1.0], "three of four count, and weights multiply"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--curriculum", "selfpace"), "Did you mean selfpaced"),
        (("--curriculum", "selfpaced(speed=2)"), "speed"),
        (("--curriculum", "selfpaced(start=2)"), "start"),
        (("--curriculum", "selfpaced", "--mixup"), "--mixup"),
        (("--curriculum_weights", 1, 2), "belongs to --make_curriculum"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(call: Call, data: Path, flags: tuple[object, ...], said: str) -> None:
    outcome = call(*tiny(data, *flags))
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_every_edited_curriculum_is_kept(call: Call, data: Path, model: Path) -> None:
    again = ("--make_curriculum", "train", "--resume", model, *ARCH, *COURSES)
    file, edited = data / "curriculum.txt", []
    for weight in ("0.123", "0.456"):
        assert call(*again).code == 0
        rows = file.read_text().splitlines()
        file.write_text("\n".join([*rows[:-1], rows[-1].rpartition(",")[0] + f",{weight}"]) + "\n")
        edited.append(file.read_text())
    assert call(*again).code == 0
    kept = [data / "curriculum-old.txt", data / "curriculum-old-2.txt"]
    assert [old.read_text() for old in kept] == edited
    assert call(*again).code == 0
    assert not (data / "curriculum-old-3.txt").exists(), "what is written again as it was needs no copy"


def test_a_curriculum_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "curriculum.txt"
    file.write_text("by hand")
    with pytest.raises(UserError), kept_copy(file):
        raise UserError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["curriculum.txt"]
    assert file.read_text() == "by hand"
