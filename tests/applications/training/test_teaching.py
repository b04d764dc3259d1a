"""Teachers in the loop: the loss they add, whom they refuse, and runs that resume exactly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from applications.contract import StepResult
from applications.objectives.distillation import DistillationObjective, TeacherOutput, resize_images
from criterions.distillation import build_distillation
from dataloader.sample import Batch
from tests.applications.conftest import NETS, Call, read_rows, run_once, start, tiny, write_colors
from tests.applications.training.test_resume import assert_equal_runs, same
from utils.checkpoint import load_checkpoint

ARCH = ("--arch", f"{NETS}:TinyNet")
SHUFFLE = "torchvision/shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, and three teachers: a network with maps, the same exported, and a tiny one of a user's file."""
    folder = tmp_path_factory.mktemp("teaching")
    write_colors(folder / "data", {"train": 8, "val": 3})
    flags = tiny(folder / "data", "--logdir", folder, "--epochs", 1)
    run_once(*flags, "--arch", SHUFFLE, "--name", "maps")
    run_once(*flags, "--name", "tiny")
    run_once("--jit", "--resume", folder / "classify/tiny", *ARCH)
    return folder


@pytest.fixture
def data(home: Path) -> Path:
    return home / "data"


class Fixed:
    """A teacher who always says the same."""

    def __init__(self, logits: list[float]) -> None:
        self.activation: Any = "softmax"
        self.logits = torch.tensor(logits)

    def __call__(self, images: Tensor) -> TeacherOutput:
        return TeacherOutput(self.logits.expand(len(images), -1), None)


def test_the_loss_is_shared_by_labels_and_teachers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    batch = Batch(torch.rand(3, 3, 2, 2), torch.tensor([0, 1, 1]), torch.tensor([1.0, 0.0, 2.0]), torch.arange(3))

    def objective(network: nn.Module, batch: Batch, *, record: bool = True) -> StepResult:
        assert not record
        return StepResult(network(batch.images).sum() * 0 + 7, {"loss": torch.tensor(21.0), "top1": torch.tensor(2)})

    taught = DistillationObjective(
        objective,
        [Fixed([1.0, 3.0])],
        build_distillation("kd", "softmax"),
        activation="softmax",
        num_classes=2,
        temperature=2.0,
        weight=0.25,
        match=None,
    )
    result = taught(model, batch, record=False)
    p, log_q = torch.tensor([0.5, 1.5]).softmax(0), (model(batch.images) / 2).log_softmax(1)
    distance = (4 * (p * (p.log() - log_q)).sum(1) * batch.weights).mean()
    torch.testing.assert_close(result.loss, 0.75 * 7 + 0.25 * distance)
    torch.testing.assert_close(result.sums["distill"], 3 * distance.detach())
    assert result.sums["top1"] == 2
    result.loss.backward()
    assert model[1].weight.grad is not None


def test_a_batch_is_scaled_to_the_size_of_the_teacher() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert resize_images(images, (8, 8)) is images
    assert resize_images(images, (16, 4)).shape == (2, 3, 16, 4)


@pytest.mark.parametrize(
    "flags",
    [
        ("--distill_loss", "dkd(beta=4)", "--distill_temperature", 2, "--mixup"),
        ("--distill_loss", "hard", "--criterion", "bce", "--distill_weight", 1),
        ("--criterion", "bce|ohm(0.5)", "--accumulate", 2),
    ],
)
def test_a_student_learns_from_several_kinds_of_teachers(call: Call, home: Path, data: Path, flags: tuple[object, ...]) -> None:
    teachers = (home / "classify/maps", home / "classify/tiny/model.jit.pt", home / "classify/tiny/best.pt")
    outcome = call(*tiny(data, "--teacher", *teachers, *flags))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("teacher   ") == 3
    assert float(read_rows(outcome.run / "metrics.csv")[-1]["train_distill"]) > 0


def test_a_teacher_without_weight_changes_nothing_and_is_left_alone(call: Call, home: Path, data: Path) -> None:
    plain = call(*tiny(data)).run
    taught = call(*tiny(data, "--teacher", home / "classify/tiny", "--distill_weight", 0)).run
    first, second = (load_checkpoint(run / "last.pt")["state_dict"] for run in (plain, taught))
    assert same(first, second)


def test_an_exported_teacher_teaches_as_its_checkpoint_does(call: Call, home: Path, data: Path) -> None:
    runs = [call(*tiny(data, "--opt", "sgd", "--teacher", home / "classify/tiny" / file)).run for file in ("best.pt", "model.jit.pt")]
    first, second = (load_checkpoint(run / "last.pt")["state_dict"] for run in runs)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-3, atol=1e-4, msg=name)


def test_student_and_teacher_may_differ_in_size(call: Call, home: Path, data: Path) -> None:
    assert call(*tiny(data, "--teacher", home / "classify/maps", "--image_size", 24, 20)).code == 0


@pytest.mark.parametrize("kind", ["cosine", "mse"])
def test_maps_are_learned_by_projections_that_are_saved_apart(call: Call, home: Path, data: Path, kind: str) -> None:
    flags = ("--arch", SHUFFLE, "--teacher", home / "classify/maps", "--distill_features", kind, "--ema")
    outcome = call(*tiny(data), *flags)
    assert outcome.code == 0, outcome.err
    assert float(read_rows(outcome.run / "metrics.csv")[-1]["train_maps"]) > 0
    content = load_checkpoint(outcome.run / "last.pt")
    assert content["teaching"]["projections"]["0.weight"].shape == (1024, 1024, 1, 1)
    assert not any("projection" in name for name in (*content["state_dict"], *content["state_dict_ema"]))
    assert "beside.0.weight" in content["stepper"]["optimizer"]["state"]
    assert call("--evaluation", "--resume", outcome.run).code == 0, "the student needs neither teacher nor projections"


def test_the_weight_of_an_image_counts_for_its_maps(call: Call, home: Path, data: Path) -> None:
    distances = []
    for weight in (1, 0.5):
        lines = [f"{path.relative_to(data)},{weight}\n" for path in sorted((data / "train").rglob("*.png"))]
        folder = Path(f"weights-{weight}")
        folder.mkdir()
        (folder / "curriculum.txt").write_text("path,weight\n" + "".join(lines))
        flags = ("--arch", SHUFFLE, "--teacher", home / "classify/maps", "--distill_features", "--lr", 1e-9, "--epochs", 1)
        outcome = call(*tiny(data), *flags, "--curriculum_learning", "--sidecar_dir", folder)
        assert outcome.code == 0, outcome.err
        distances.append(float(read_rows(outcome.run / "metrics.csv")[0]["train_maps"]))
    assert distances[1] == pytest.approx(distances[0] / 2, rel=0.02)


@pytest.mark.parametrize(
    ("net", "flags"),
    [
        ("TinyNet", ("--mixup", "--ema", "--distill_loss", "dkd", "--accumulate", 2)),
        (SHUFFLE, ("--distill_features", "--sam", "--swa", 2)),
    ],
)
def test_a_taught_run_resumes_exactly(call: Call, home: Path, data: Path, net: str, flags: tuple[object, ...]) -> None:
    arch = ARCH if net == "TinyNet" else ("--arch", net)
    flags = (*tiny(data, "--epochs", 3, "--teacher", home / "classify/maps", *flags), *arch)
    whole, broken = call(*flags, "--name", "whole").run, call(*flags, "--name", "broken", "--max_minutes", 1e-9).run
    for _ in range(3):
        assert call("--resume", broken, *arch, "--max_minutes", 1e-9).code == 0
    assert load_checkpoint(broken / "last.pt")["progress"]["batch"] > 0, "the run stands inside an epoch"
    outcome = call("--resume", broken, *arch)
    assert outcome.code == 0, outcome.err
    assert_equal_runs(whole, broken)
    assert same(*(load_checkpoint(run / "last.pt")["teaching"] for run in (whole, broken)))


def renamed(folder: Path, names: dict[str, str]) -> Path:
    write_colors(folder, {"train": 3, "val": 2})
    for split in ("train", "val"):
        for old, new in names.items():
            (folder / split / old).rename(folder / split / new)
    return folder


@pytest.mark.parametrize("teacher", ["tiny", "tiny/model.jit.pt"])
def test_a_teacher_of_other_classes_is_refused(call: Call, home: Path, tmp_path: Path, teacher: str) -> None:
    other = renamed(tmp_path / "other", {"red": "rose"})
    outcome = call(*tiny(other, "--teacher", home / "classify" / teacher))
    assert outcome.code == 2
    assert "without rose, with red" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_teacher_with_its_classes_in_another_order_is_refused(call: Call, home: Path, data: Path, tmp_path: Path) -> None:
    content = load_checkpoint(home / "classify/tiny/best.pt")
    torch.save({**content, "classes": ["red", "green", "blue"]}, tmp_path / "turned.pt")
    outcome = call(*tiny(data, "--teacher", tmp_path / "turned.pt"))
    assert outcome.code == 2
    assert "has the classes in another order (red, green, blue)" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--teacher", "nowhere"), "--teacher: there is no run folder or checkpoint"),
        (("--teacher", NETS), "--teacher"),
        (("--teacher", "{tiny}", "--arch", SHUFFLE), "convert it with --jit"),
        (("--teacher", "{tiny}", "--distill_features"), "shows no feature maps"),
        (("--teacher", "{maps}", "--distill_features"), "TinyNet shows no feature maps"),
        (("--teacher", "{exported}", "--distill_features"), "exported file shows no feature maps"),
        (("--teacher", "{tiny}", "--distill_loss", "kdd"), "Did you mean"),
        (("--teacher", "{tiny}", "--distill_loss", "dkd", "--criterion", "bce"), "softmax"),
        (("--teacher", "{tiny}", "--distill_temperature", 0), "--distill_temperature"),
        (("--teacher", "{tiny}", "--distill_weight", 2), "--distill_weight"),
        (("--teacher", "{maps}", "--distill_features", "--compile"), "--compile"),
        (("--distill_weight", 0.7), "has no effect without --teacher"),
        (("--teacher", "{tiny}", "--distill_loss", "nothing_like_it"), "unknown distillation"),
        (("--distill_feature_weight", 2, "--teacher", "{tiny}"), "has no effect without --distill_features"),
    ],
)
def test_what_cannot_teach_is_refused_in_one_line(call: Call, home: Path, data: Path, flags: tuple[object, ...], said: str) -> None:
    places = {"tiny": home / "classify/tiny", "maps": home / "classify/maps", "exported": home / "classify/tiny/model.jit.pt"}
    outcome = call(*tiny(data, *(str(flag).format(**places) for flag in flags)))
    assert outcome.code == 2, outcome.out
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(call: Call, data: Path, tmp_path: Path) -> None:
    flags = (*tiny(data, "-b", 8, "--opt", "sgd"), "--arch", f"{Path(__file__).parent.with_name('map_net.py')}:MapNet")
    teacher = call(*flags, "--seed", 1).run.resolve()
    flags = (*flags, "--teacher", teacher, "--distill_features", "--accumulate", 2, "--curriculum", "selfpaced(0.4)")
    one = call(*flags).run
    process = start(*flags, "--name", "two", "--nproc", 2, folder=tmp_path)
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert out.count("teacher   ") == 1, "one process speaks"
    first, second = (load_checkpoint(run / "last.pt") for run in (one, tmp_path / "runs/classify/two"))
    assert same(first["teaching"]["pace"]["weights"], second["teaching"]["pace"]["weights"])
    assert 0 < first["teaching"]["pace"]["weights"].mean() < 1
    learned = [{**content["state_dict"], **content["teaching"]["projections"]} for content in (first, second)]
    for name, value in learned[0].items():
        torch.testing.assert_close(learned[1][name], value, rtol=1e-4, atol=1e-5, msg=name)
