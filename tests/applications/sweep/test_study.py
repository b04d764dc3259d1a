"""Proposals follow from the seed and the figures, whether the sweep was interrupted or not; no settings are tried twice."""

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from applications.sweep import study as module
from applications.sweep.space import parse_space
from applications.sweep.study import SweepStudy, count_settings

SPACE = parse_space("lr=1e-4..1e-1 mixup=on,off")


def objective(values: dict[str, Any]) -> float:
    """Largest for a rate of 0.01 with mixup."""
    return 1 - abs(math.log10(values["lr"]) + 2) / 4 - 0.1 * (not values["mixup"])


def go_on(file: Path, until: int, seed: int = 0) -> list[dict[str, Any]]:
    study = SweepStudy(file, SPACE, seed)
    study.catch_up()
    while len(study.settings()) < until:
        number = study.propose()
        study.tell(0, number, (objective(study.settings()[number]), 0.0))
    return list(study.settings().values())


def test_an_interrupted_study_proposes_what_an_unbroken_one_does(tmp_path: Path) -> None:
    whole = go_on(tmp_path / "whole", 10)
    go_on(tmp_path / "parts", 5)
    assert go_on(tmp_path / "parts", 10) == whole
    assert go_on(tmp_path / "other", 3, seed=1) != whole[:3]


def test_a_trial_that_was_under_way_is_kept_and_not_counted_twice(tmp_path: Path) -> None:
    study = SweepStudy(tmp_path / "study", SPACE, 0)
    number = study.propose()
    again = SweepStudy(tmp_path / "study", SPACE, 0)
    again.catch_up()
    assert list(again.settings()) == [number]
    assert again.settings() == study.settings()
    assert again.figures(0) == {}
    again.tell(0, number, (0.5, -1.0))
    again.tell(0, number, (0.5, -1.0))
    assert SweepStudy(tmp_path / "study", SPACE, 0).figures(0) == {number: (0.5, -1.0)}


@pytest.mark.slow
def test_later_proposals_learn_from_earlier_figures(tmp_path: Path) -> None:
    values = [objective(each) for each in go_on(tmp_path / "study", 30)]
    assert sum(values[20:]) / 10 > sum(values[:8]) / 8 + 0.05


def test_small_spaces_are_tried_whole_and_once(tmp_path: Path) -> None:
    study = SweepStudy(tmp_path / "study", parse_space("batch_size=8..10 mixup=on,off"), 0)
    for _ in range(6):
        study.tell(0, study.propose(), None)
    assert {tuple(each.values()) for each in study.settings().values()} == {(size, mixup) for size in (8, 9, 10) for mixup in (True, False)}
    assert len(study.settings()) == 6


def test_settings_are_counted_before_any_is_listed() -> None:
    assert count_settings(parse_space("batch_size=8..10 mixup=on,off")) == 6
    assert count_settings(parse_space("batch_size=1..1000000000 accumulate=1..1000000000")) == 10**18
    assert count_settings(SPACE) is None


def test_a_space_too_large_to_list_is_drawn_from_where_proposals_repeat_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = parse_space("batch_size=1..1000000000 accumulate=1..1000000000 mixup=on,off")
    study = SweepStudy(tmp_path / "study", space, 0)
    study.tell(0, study.propose(), (0.5, -1.0))
    # No proposal counts, as if all were known.
    monkeypatch.setattr(module, "MOST_REPEATED", 0)
    for _ in range(3):
        study.tell(0, study.propose(), (0.5, -1.0))
    found = study.settings().values()
    assert len({tuple(each.values()) for each in found}) == 4
    assert all(1 <= each["batch_size"] <= 10**9 and each["mixup"] in (True, False) for each in found)


def test_figures_of_rungs_are_kept_apart(tmp_path: Path) -> None:
    study = SweepStudy(tmp_path / "study", SPACE, 0)
    number = study.propose()
    study.tell(0, number, (0.5, -1.0))
    study.tell(1, number, None)
    assert (study.figures(0), study.figures(1), study.figures("seed")) == ({number: (0.5, -1.0)}, {number: None}, {})
