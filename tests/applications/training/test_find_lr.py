"""The range test and the drawn schedule."""

import re
from pathlib import Path

import pytest

from applications.training.find_lr import shown_limits
from tests.applications.conftest import Call, read_rows, tiny


def test_a_range_test_suggests_a_rate_and_writes_no_model(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--find_lr", "--opt", "sgd", "--lr_range", 1e-4, 100, "--aug", "--mixup", action="find_lr"))
    assert outcome.code == 0, outcome.err
    assert "start with --lr" in outcome.out
    folder = Path("runs/find_lr/range")
    assert sorted(file.name for file in folder.iterdir()) == ["find_lr.csv", "find_lr.png"]
    rows = read_rows(folder / "find_lr.csv")
    assert 10 < len(rows) <= 100
    assert float(rows[0]["lr"]) == pytest.approx(1e-4)
    suggestion = float(outcome.out.rsplit("--lr", 1)[1])
    assert 1e-3 < suggestion < 10
    call(*tiny(colors, "--find_lr", "--opt", "sgd", action="find_lr"))
    assert Path("runs/find_lr/range-2/find_lr.png").is_file(), "an earlier curve is never overwritten"


def losses_of(folder: str) -> list[str]:
    return [row["loss"] for row in read_rows(Path("runs/find_lr") / folder / "find_lr.csv")][:20]


def test_a_range_test_learns_from_teachers_and_by_a_curriculum(call: Call, colors: Path) -> None:
    teacher = call(*tiny(colors, "--name", "teacher", "--epochs", 1)).run.resolve()
    flags = ("--find_lr", "--opt", "sgd", "--lr_range", 1e-4, 1e-1)
    for name, more in {
        "plain": (),
        "taught": ("--teacher", teacher, "--distill_weight", 1),
        "paced": ("--curriculum", "selfpaced(start=0.3)", "--epochs", 20),
    }.items():
        outcome = call(*tiny(colors, *flags, "--name", name, *more, action="find_lr"))
        assert outcome.code == 0, outcome.err
    assert losses_of("taught") != losses_of("plain")
    # The first epoch of a curriculum knows no losses; from the second on, easy images count alone.
    assert losses_of("paced")[:6] == losses_of("plain")[:6]
    assert losses_of("paced")[6:] != losses_of("plain")[6:]


def test_a_range_test_names_what_does_not_fit(call: Call, colors: Path) -> None:
    assert "--resume belongs to training" in call(*tiny(colors, "--find_lr", "--resume", "x", action="find_lr")).err
    assert "--lr_range" in call(*tiny(colors, "--find_lr", "--lr_range", 1, 0.1, action="find_lr")).err


def test_the_end_that_diverges_is_outside_the_picture() -> None:
    losses = [2.0, 2.2, 1.5, 1.0, 0.8, 30.0, 900.0, float("inf")]
    low, high = shown_limits(losses, losses) or (0.0, 0.0)
    assert 0 < low < 0.8
    assert 2.2 < high < 4
    assert shown_limits([float("nan")], [float("nan")]) is None


@pytest.mark.parametrize("schedule", ["cosine(cycles=3)", "plateau(patience=4)", "onecycle"])
def test_a_schedule_is_drawn_without_training(call: Call, schedule: str) -> None:
    outcome = call("--print_schedule", "--schedule", schedule, "--epochs", 12, "--lr", 0.5)
    assert outcome.code == 0, outcome.err
    assert "peaks at 0.5" in outcome.out
    folder = Path("runs/schedule") / schedule.partition("(")[0]
    assert (folder / "schedule.png").read_bytes().startswith(b"\x89PNG")
    rows = read_rows(folder / "schedule.csv")
    assert float(rows[-1]["epoch"]) == pytest.approx(12, abs=0.01)
    assert max(float(row["lr"]) for row in rows) == pytest.approx(0.5)
    assert [file.name for file in Path().iterdir()] == ["runs"], "nothing lands where the user works"


def test_the_picture_goes_where_logdir_says(call: Call) -> None:
    flags = ("--print_schedule", "--logdir", "pictures", "--name", "usual")
    assert "pictures/schedule/usual/schedule.png" in call(*flags).out
    assert call(*flags).code == 0
    assert Path("pictures/schedule/usual-2/schedule.png").is_file(), "an earlier picture is never overwritten"


def test_a_plateau_of_an_unknown_figure_is_not_drawn(call: Call) -> None:
    outcome = call("--print_schedule", "--schedule", "plateau(metric=accuracy)")
    assert outcome.code == 2
    assert "validation has no figure 'accuracy'" in outcome.err
    # Whether images have one label or several is not known without data.
    for metric in ("top5", "mAP"):
        assert call("--print_schedule", "--schedule", f"plateau(metric={metric})").code == 0


def test_a_schedule_that_does_not_fit_is_not_drawn(call: Call) -> None:
    outcome = call("--print_schedule", "--schedule", "multistep(40)", "--epochs", 30)
    assert outcome.code == 2
    assert "longer than the run" in outcome.err


def test_the_rate_of_the_classifier_that_was_tried_is_named(call: Call, colors: Path) -> None:
    outcome = call(*tiny(colors, "--find_lr", "--head_lr", 0.2, action="find_lr"))
    assert outcome.code == 0, outcome.err
    found = re.search(r"--lr (\S+) --head_lr (\S+)", outcome.out)
    assert found is not None, outcome.out
    assert float(found[2]) == pytest.approx(10 * float(found[1]), rel=0.01)
