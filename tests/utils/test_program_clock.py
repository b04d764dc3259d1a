"""How long the program runs."""

import os
import subprocess
import sys
import time

import pytest

from utils.environment import ROOT
from utils.program_clock import STARTED, program_seconds, shared_clock

ASK = [sys.executable, "-c", "from utils.program_clock import program_seconds; print(program_seconds())"]


def asked() -> float:
    """Return what a program that is started now says."""
    return float(subprocess.run(ASK, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def test_the_clock_begins_with_the_program_and_goes_on() -> None:
    before = program_seconds()
    time.sleep(0.05)
    assert program_seconds() - before == pytest.approx(0.05, abs=0.04)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="imports are counted on Linux alone")
def test_launched_processes_count_from_the_start_of_the_program_that_launches_them() -> None:
    own = program_seconds()
    assert asked() < own
    with shared_clock():
        assert asked() > own
        assert program_seconds() == pytest.approx(own, abs=30)
    assert STARTED not in os.environ
