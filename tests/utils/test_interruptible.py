"""Signals that end a program interrupt it once, and one that is ignored stays so."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from utils.environment import ROOT
from utils.interruptible import ENDINGS, interruptible


@pytest.fixture(autouse=True)
def nothing_ignored() -> Iterator[None]:
    """Let the signals end this process, as they do unless it runs under nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDINGS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDINGS)
def test_an_ending_interrupts_once_so_that_cleaning_up_is_not_broken_off(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in ENDINGS}
    cleaned = []

    def ended_while_it_works() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            for each in ENDINGS:
                os.kill(os.getpid(), each)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), interruptible():
        ended_while_it_works()
    assert cleaned
    assert {each: signal.getsignal(each) for each in ENDINGS} == before


def test_sighup_stays_ignored_under_nohup() -> None:
    program = """
import os, signal
from utils.interruptible import interruptible
with interruptible():
    os.kill(os.getpid(), signal.SIGHUP)
    print("goes on", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(["nohup", sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "goes on" in done.stdout
    assert "KeyboardInterrupt" in done.stderr
