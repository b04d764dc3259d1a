"""Claims about the learning rate that a run's settings ask for."""

import pytest

from applications.assemble import build_run_schedule
from applications.settings.options import RunConfig


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("seed", range(2))
def test_the_epochs_that_are_averaged_run_at_an_even_rate_without_noise(schedule, seed):
    settings = {"epochs": 20, "schedule": schedule, "swa": 0.75, "warmup": 1.0, "seed": seed}
    calm, shaken = (build_run_schedule(RunConfig().override({**settings, "lr_noise": noise}), 10) for noise in ((), (0.67,)))
    assert [shaken(step) for step in range(150)] != [calm(step) for step in range(150)]
    assert {shaken(step) for step in range(150, 200)} == {calm(150)}
