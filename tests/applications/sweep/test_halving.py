"""Rungs are whole schedules of rising length, and figures order the trials."""

import math

import pytest

from applications.sweep.halving import best_of, plan_rungs


@pytest.mark.parametrize(
    ("trials", "epochs", "planned"),
    [
        (27, 30, [(27, 1), (9, 3), (3, 10), (1, 30)]),
        (9, 9, [(9, 1), (3, 3), (1, 9)]),
        (10, 9, [(10, 1), (4, 3), (2, 9)]),
        (9, 2, [(9, 2)]),
        (2, 90, [(2, 90)]),
        (1, 1, [(1, 1)]),
    ],
)
def test_a_third_goes_on_to_three_times_the_length(trials: int, epochs: int, planned: list[tuple[int, int]]) -> None:
    assert [(rung.runs, rung.length) for rung in plan_rungs(trials, epochs, "epochs")] == planned


def test_minutes_are_divided_down_to_the_shortest_run() -> None:
    assert [(rung.runs, rung.settings) for rung in plan_rungs(27, 6.0, "minutes")] == [
        (27, {"minutes": pytest.approx(2 / 3)}),
        (9, {"minutes": pytest.approx(2)}),
        (3, {"minutes": 6.0}),
    ]


def test_the_best_are_those_of_the_highest_figure_then_the_lowest_loss_then_the_first() -> None:
    values = {0: (0.5, -1.0), 1: (0.9, -0.4), 2: None, 3: (0.9, -0.3), 4: (math.nan, 0.0), 5: (0.9, -0.4)}
    assert best_of(values, 2) == [3, 1]
    assert best_of(values, 9) == [3, 1, 5, 0]
    assert best_of({2: None}, 1) == []
